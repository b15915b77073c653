"""The Kraken feed: where it is, and how its list is had.

Wiring only; frames are handled in ``connection``, pairs in ``instrument_feed``. There is nothing
to ask over REST: the pairs come on a channel, and so does every book.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.kraken import endpoints
from bus.feeds.kraken.connection import Connection
from bus.feeds.kraken.listing import Pairs
from bus.feeds.kraken.symbols import guess
from bus.feeds.listing import Choice, Listed
from bus.feeds.streaming_venue import StreamingVenue
from bus.feeds.trade_sequence import trade_figures
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

LIST_WAIT_S: Final = 10.0
"""How long a command waits for the list of pairs."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    return KrakenFeed(feed)


class KrakenFeed(StreamingVenue[Connection]):
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    streams_a_symbol = len(endpoints.CHANNELS)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, _log)
        self._pairs = Pairs()

    def _url(self) -> str:
        return (self._feed.ws_base or endpoints.WS_BASE).rstrip("/") + endpoints.PATH

    def _connection(self, instruments: Sequence[Listed]) -> Connection:
        return Connection(self._feed, instruments, self._pairs)

    def _guess(self, symbol: str) -> Listed:
        return guess(symbol)

    async def _choose(self) -> tuple[Choice, bool]:
        """Nothing is known before a connection is there, and then it is told unasked."""
        return Choice(self._guesses(), {}), True

    async def _keep_listing(self, known: bool) -> None:
        """Nothing to ask for: what changes is told on the channel."""

    async def _ask_list(self, symbols: Sequence[str]) -> Mapping[str, Listed]:
        """The pairs as last told; on a connection made for it where there is none."""
        if not self._served:
            self._open(())
        try:
            async with asyncio.timeout(LIST_WAIT_S):
                await self._pairs.known.wait()
        except TimeoutError:
            raise TimeoutError("no connection has brought the list of pairs yet") from None
        return self._pairs.listed

    def _figures(self) -> dict[str, int | float | str]:
        books = [one.book.stats() for one in self._instruments()]
        losses = [one.trades.losses() for one in self._instruments()]
        return {
            "checksum_failed": sum(book.checksum_failed for book in books),
            **trade_figures(losses),
        }
