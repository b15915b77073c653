"""The Coinbase connection: one frame to its product, subscriptions out, complaints in.

Nothing on this venue's book channel is numbered, so a book is trusted until it is crossed or its
product's heartbeat stays away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bus.feeds.coinbase import endpoints
from bus.feeds.coinbase.instrument_feed import InstrumentFeed
from bus.feeds.coinbase.parser import (
    ErrorEvent,
    HeartbeatEvent,
    MatchEvent,
    SnapshotEvent,
    SubscriptionsEvent,
    TickerEvent,
    UpdateEvent,
    parse,
)
from bus.feeds.feed import Feed
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed, unlisted
from bus.feeds.snapshot_connection import SnapshotConnection
from bus.feeds.venue_connection import SUBSCRIBE
from bus.runtime import get_logger

_log = get_logger("feeds.coinbase")

TRADES_FLOOR_S: Final = 20.0
BOOK_FLOOR_S: Final = 5.0


class Connection(SnapshotConnection[InstrumentFeed]):
    """Handles one session. ``exists(product)``: whether the venue has listed it."""

    book_kind = endpoints.BOOK

    def __init__(
        self, feed: Feed, instruments: Sequence[Listed], *, exists: Callable[[str], bool]
    ) -> None:
        settings = feed.settings
        trades = StreamLimit(settings.stale_trades_s, TRADES_FLOOR_S)
        limits = {
            endpoints.HEARTBEAT: StreamLimit(endpoints.HEARTBEAT_STALE_S, regular=True),
            endpoints.TRADES: trades,
            endpoints.TICKER: trades,  # it speaks after a match only
            endpoints.BOOK: StreamLimit(settings.stale_depth_s, BOOK_FLOOR_S),
        }
        silent_s = min(settings.silent_connection_s, endpoints.SILENT_CONNECTION_S)
        super().__init__(feed, _log, limits, silent_s)
        self._exists = exists
        for instrument in instruments:
            self.add(instrument)

    def _make(self, instrument: Listed) -> InstrumentFeed:
        on_book = self._book_watcher(instrument.venue_symbol)
        return InstrumentFeed(self._feed, instrument, on_book, self.lateness.delays)

    def _take(self, link: Link, frame: bytes, recv_ns: int, mono_ns: int) -> int:
        event = parse(frame)
        if isinstance(event, SubscriptionsEvent):
            return 0
        if isinstance(event, ErrorEvent):
            self._complained(event)
            return 0
        product = getattr(event, "product_id", "")
        found = self._by_name.get(product)
        if found is None:
            self._unknown(product or getattr(event, "name", type(event).__name__))
            return 0
        one, followed = found
        one.facts.has_data = True
        seen = self._seen
        if isinstance(event, UpdateEvent):
            if link is followed.link:
                seen[one.streams[endpoints.BOOK]] = mono_ns
                one.on_update(event, recv_ns)
        elif isinstance(event, MatchEvent):
            seen[one.streams[endpoints.TRADES]] = mono_ns
            if not event.is_past or link is followed.link:  # a successor's may be ahead of our own
                one.on_match(event, recv_ns)
        elif isinstance(event, TickerEvent):
            seen[one.streams[endpoints.TICKER]] = mono_ns
            one.on_ticker(event, recv_ns)
        elif isinstance(event, HeartbeatEvent):
            seen[one.streams[endpoints.HEARTBEAT]] = mono_ns
            if event.last_trade_id == one.trades.sequence.last_id:  # nobody has traded: no silence
                seen[one.streams[endpoints.TRADES]] = seen[one.streams[endpoints.TICKER]] = mono_ns
            if link is followed.link:
                one.on_heartbeat(event, recv_ns)
        elif isinstance(event, SnapshotEvent) and self._takes_book(followed, link, True):
            seen[one.streams[endpoints.BOOK]] = mono_ns
            one.on_snapshot(event, recv_ns, mono_ns)
        return 1

    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        """Products with the same channels together, once they are known to exist.

        One product that does not exist makes all of a message fail.
        """
        channels: dict[str, list[str]] = {}
        for stream in streams:
            product, _, channel = stream.partition("@")
            channels.setdefault(product, []).append(channel)
        alike: dict[tuple[tuple[str, ...], str], list[str]] = {}
        for product, wanted in channels.items():
            alone = "" if self._exists(product) else product
            alike.setdefault((tuple(wanted), alone), []).append(product)
        word = endpoints.subscribe if method == SUBSCRIBE else endpoints.unsubscribe
        step = endpoints.PRODUCTS_PER_SUBSCRIBE
        return [
            word(products[start : start + step], wanted)
            for (wanted, _), products in alike.items()
            for start in range(0, len(products), step)
        ]

    def _kinds_again(self, reason: str) -> Sequence[str]:
        """Everything where the venue has stopped counting the product as ours."""
        return endpoints.CHANNELS if reason in ("", "heartbeat") else (endpoints.BOOK,)

    def _note_stale(self, one: InstrumentFeed) -> None:
        super()._note_stale(one)
        if endpoints.HEARTBEAT in one.facts.stale and one.book.synced:
            one.book.lose("heartbeat")

    def _complained(self, event: ErrorEvent) -> None:
        words = f"{event.message}: {event.reason}" if event.reason else event.message
        _log.error("request refused", detail=words[:200])
        if "not a valid product" not in event.reason:
            return
        for product, (one, _) in self._by_name.items():
            if event.reason.startswith(f"{product} "):
                self.refuse(one.instrument.symbol, unlisted(product))
