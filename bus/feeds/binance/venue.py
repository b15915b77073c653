"""The Binance feed: where it is, how its list is had, its snapshots and its REST budget.

Wiring only; frames are handled in ``connection``, instruments in ``instrument_feed``, snapshots
in ``books``, trades that are missing in ``trades``, the list of instruments in ``listing``.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from bus.clock import monotonic_ns
from bus.feeds.binance import endpoints, trades
from bus.feeds.binance.books import BookKeeper
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.listing import Listing
from bus.feeds.binance.symbols import guess
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.listing import Listed
from bus.feeds.log_limit import LogLimit
from bus.feeds.rest import RestClient, client_for
from bus.feeds.streaming_venue import StreamingVenue
from bus.feeds.trade_repair import TradeRepair
from bus.feeds.trade_sequence import trade_figures
from bus.runtime import get_logger

_log = get_logger("feeds.binance")


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    return BinanceFeed(feed)


class BinanceFeed(StreamingVenue[Connection]):
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    streams_a_symbol = len(endpoints.STREAMS)

    def __init__(self, feed: Feed) -> None:
        base = feed.rest_base or endpoints.REST_BASE
        rest = client_for(
            feed,
            base,
            budget_per_minute=endpoints.WEIGHT_PER_MINUTE // 2,
            weight_header=endpoints.WEIGHT_HEADER,
        )
        super().__init__(feed, _log, rest)
        self._calls: RestClient = rest
        self._listing = Listing(feed, rest)
        self._books = BookKeeper(feed, rest, self._books_waiting)
        self._repair = TradeRepair(_log, feed.backoff)
        self._log_progress = LogLimit(_log.info)

    def _url(self) -> str:
        return (self._feed.ws_base or endpoints.WS_BASE).rstrip("/") + endpoints.COMBINED_PATH

    def _connection(self, instruments: Sequence[Listed]) -> Connection:
        return Connection(self._feed, instruments)

    def _guess(self, symbol: str) -> Listed:
        return guess(symbol)

    async def _ask_list(self, symbols: Sequence[str]) -> Mapping[str, Listed]:
        return (await self._listing.ask(symbols)).instruments

    def _keep(self, connection: Connection, symbol: str) -> Sequence[Coroutine[Any, Any, None]]:
        one = connection.instruments[symbol]
        fetch = partial(trades.fetch, self._calls, one)
        return (
            self._books.keep(connection, symbol),
            self._repair.keep(one.trades, fetch, symbol),
        )

    def _figures(self) -> dict[str, int | float | str]:
        books = [one.book.stats() for one in self._instruments()]
        losses = [one.trades.losses() for one in self._instruments()]
        begun = [book.refreshes_begun for book in books]
        return {
            "books_shallow": self._books.shallow,
            "book_refreshes": sum(book.refreshes for book in books),
            "book_refresh_audit": sum(reasons.get("audit", 0) for reasons in begun),
            "book_refresh_edge": sum(reasons.get("edge", 0) for reasons in begun),
            "book_refresh_age": sum(reasons.get("age", 0) for reasons in begun),
            "book_audit_ok": sum(book.audit_ok for book in books),
            "book_audit_mismatch": sum(book.audit_mismatch for book in books),
            "diffs_buffered": sum(book.sync.buffered for book in books),
            "diffs_dropped": sum(book.sync.buffer_dropped for book in books),
            "snapshots_too_old": sum(book.sync.snapshots_too_old for book in books),
            **trade_figures(losses),
        }

    def _remarks(self) -> list[str]:
        """How far the first snapshots are, and what holds them up."""
        remarks = []
        waiting = self._books_waiting()
        if waiting:
            remarks.append(f"{waiting} books wait for their snapshot")
            weight = self._calls.stats()
            if weight.blocked_s > 0:
                until = time.strftime("%H:%M:%S", time.gmtime(time.time() + weight.blocked_s + 0.5))
                why = "banned (418)" if weight.banned else "limited (429)"
                remarks.append(f"REST {why} until {until} UTC")
            if self._calls.waiting:
                self._log_progress(
                    monotonic_ns(),
                    "snapshots",
                    "snapshots under way",
                    books_waiting=waiting,
                    calls_waiting=self._calls.waiting,
                    weight_used=weight.used,
                    weight_limit=weight.limit,
                )
        return remarks + super()._remarks()
