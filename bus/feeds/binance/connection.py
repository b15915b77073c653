"""The Binance connection: one frame to its stream's route, control messages out and in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from bus.feeds.binance import endpoints
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import ControlReply, Event, Parser, ShutdownEvent
from bus.feeds.feed import Feed
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.numbered_connection import NumberedConnection
from bus.feeds.venue_connection import SUBSCRIBE
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

FLOORS_S: Final = {
    endpoints.TRADE: 20.0,
    endpoints.QUOTE: 10.0,
    endpoints.TICKER: 10.0,
    endpoints.DEPTH: 5.0,
}
"""Learned limits of silence are never shorter, whatever a stream's rhythm."""


class Connection(NumberedConnection[InstrumentFeed]):
    """Handles one session."""

    book_kind = endpoints.DEPTH

    def __init__(self, feed: Feed, instruments: Sequence[Listed]) -> None:
        set_s = {
            endpoints.TRADE: feed.settings.stale_trades_s,
            endpoints.QUOTE: feed.settings.stale_quote_s,
            endpoints.TICKER: feed.settings.stale_ticker_s,
            endpoints.DEPTH: feed.settings.stale_depth_s,
        }
        limits = {kind: StreamLimit(set_s[kind], FLOORS_S[kind]) for kind in endpoints.STREAMS}
        super().__init__(feed, _log, limits, feed.settings.silent_connection_s, Parser().parse)
        self._next_id = 1
        for instrument in instruments:
            self.add(instrument)

    def _make(self, instrument: Listed) -> InstrumentFeed:
        on_book = partial(self._on_book, instrument.symbol)
        return InstrumentFeed(self._feed, instrument, on_book, self.lateness.delays)

    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        word = "SUBSCRIBE" if method == SUBSCRIBE else "UNSUBSCRIBE"
        messages = endpoints.control_messages(word, streams, self._next_id)
        self._next_id += len(messages)
        return messages

    def _on_other(self, link: Link, stream: str, event: Event) -> None:
        """Control replies, the shutdown notice, and what is not known here."""
        if isinstance(event, ControlReply):
            if event.code is not None:
                _log.error("request refused", code=event.code, detail=event.message, id=event.id)
        elif isinstance(event, ShutdownEvent):
            link.shutdown_announced.set()
        elif stream.partition("@")[0].upper() not in self._removed:
            self._unknown(getattr(event, "name", type(event).__name__))
