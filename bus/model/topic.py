"""The name of one ordered stream of ticks, as a value."""

from __future__ import annotations

from typing import Literal

import msgspec

Root = Literal["md", "sys"]


class Topic(msgspec.Struct, frozen=True):
    """One topic: ``md/<stream>/<venue>/<symbol>/`` or ``sys/status/<feed>/[<symbol>/]``.

    For ``sys`` topics ``venue`` is the feed's name and ``symbol`` may be empty (the whole feed).
    For news ``symbol`` is the category. Make one with :meth:`md` or :meth:`status`; whether its
    parts are well-formed is checked by :func:`bus.wire.topic.check_topic` and on parsing.
    """

    root: Root
    stream: str
    venue: str
    symbol: str

    @classmethod
    def md(cls, stream: str, venue: str, symbol: str) -> Topic:
        """A market-data topic, e.g. ``Topic.md("trades", "binance", "BTC-USDT")``."""
        return cls("md", stream, venue, symbol)

    @classmethod
    def status(cls, feed: str, symbol: str = "") -> Topic:
        """The status of a whole feed, or of one symbol of it."""
        return cls("sys", "status", feed, symbol)

    @property
    def name(self) -> str:
        """The topic as text, always ending in ``/``."""
        tail = f"{self.symbol}/" if self.symbol else ""
        return f"{self.root}/{self.stream}/{self.venue}/{tail}"

    @property
    def key(self) -> bytes:
        """The topic as it stands on the wire (ASCII)."""
        return self.name.encode("ascii")

    def __str__(self) -> str:
        return self.name
