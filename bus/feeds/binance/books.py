"""Snapshots for the books of all symbols: asked for by urgency, no deeper than can be afforded.

One task a symbol, so that nobody waits for another's snapshot; what is asked when is decided by
the budget that all feeds of the host share (``bus.feeds.budget``).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

from bus.clock import monotonic_ns
from bus.feeds.binance import endpoints
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import DepthSnapshot, parse_snapshot
from bus.feeds.budget import Priority
from bus.feeds.errors import ParseError, RestError
from bus.feeds.feed import Feed
from bus.feeds.log_limit import LogLimit
from bus.feeds.numbered_connection import FOR_CAPTURE
from bus.feeds.rest import Reply, RestClient
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

CALM_S: Final = 10.0
"""A book that wants a snapshot sooner than this after the last one waits its turn: no storms."""
LOOK_AGAIN_S: Final = 0.5
"""How soon a call that waits is asked for again when it has become urgent."""


class BookKeeper:
    """Fetches snapshots; ``waiting()`` tells how many books of the feed have none yet."""

    def __init__(self, feed: Feed, rest: RestClient, waiting: Callable[[], int]) -> None:
        self._feed = feed
        self._rest = rest
        self._waiting = waiting
        self._log_failed = LogLimit(_log.warning)
        self.shallow = 0

    async def keep(self, connection: Connection, symbol: str) -> None:
        """Fetch a snapshot whenever the book of one symbol wants one, until cancelled."""
        one = connection.instruments[symbol]
        wanted = connection.wanted[symbol]
        loop = asyncio.get_running_loop()
        attempt = 0
        answered_s = -CALM_S
        while True:
            await wanted.wait()
            if not one.book.wants_snapshot:
                wanted.clear()
                continue
            if loop.time() - answered_s < CALM_S and urgency(one) is not Priority.DEEPEN:
                await asyncio.sleep(self._feed.backoff.delay_s(attempt, random.random()))
                attempt += 1
            else:
                attempt = 0
            budget = self._rest.stats()
            if budget.blocked_s > 0:  # the call waits it out; meanwhile the symbol says for what
                connection.snapshot_failed(symbol, "banned" if budget.banned else "limited")
            limit = self._limit(one)
            try:
                reply, snapshot = await self._fetch(one, limit)
            except (RestError, ParseError) as error:
                kind = error.kind if isinstance(error, RestError) else "malformed"
                what = {"symbol": symbol, "detail": str(error), "attempt": attempt}
                self._log_failed(monotonic_ns(), kind, "no snapshot", **what)
                connection.snapshot_failed(symbol, kind)
                answered_s = loop.time()
                continue
            answered_s = loop.time()
            was_first = not one.book.synced
            bids, asks = snapshot.bids, snapshot.asks
            if not one.book.on_snapshot(
                snapshot.last_update_id, bids, asks, reply.recv_ns, monotonic_ns(), limit
            ):
                _log.info("snapshot of no use", symbol=symbol, last_id=snapshot.last_update_id)
            elif was_first and limit < self._feed.settings.depth_limit:
                was_cut = len(bids) >= limit or len(asks) >= limit
                self.shallow += was_cut and one.book.refresh("depth")

    def _limit(self, one: InstrumentFeed) -> int:
        """As deep as set, unless so many books wait for a first one that it cannot be afforded."""
        limit = self._feed.settings.depth_limit
        stats = self._rest.stats()
        if one.book.synced or not stats.limit:
            return limit
        return endpoints.affordable_limit(limit, self._waiting(), stats.limit - stats.used)

    async def _fetch(self, one: InstrumentFeed, limit: int) -> tuple[Reply, DepthSnapshot]:
        """Raises RestError, ParseError."""
        params: dict[str, str | int] = {"symbol": one.instrument.venue_symbol, "limit": limit}
        while True:
            priority = urgency(one)
            call = asyncio.ensure_future(
                self._rest.get(
                    endpoints.DEPTH_PATH,
                    params,
                    weight=endpoints.depth_weight(limit),
                    priority=priority,
                    cause=cause_of(one),
                )
            )
            try:
                while not call.done():
                    await asyncio.wait({call}, timeout=LOOK_AGAIN_S)
                    if not call.done() and urgency(one) < priority:
                        break  # a refresh that has become a resync does not wait as a refresh
                else:
                    reply = call.result()
                    return reply, parse_snapshot(reply.take())
            finally:
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError, RestError):
                    if not call.done():
                        await call


def cause_of(one: InstrumentFeed) -> str:
    """What a capture keeps beside the answer: a replay does not ask for such a snapshot."""
    wanted_by_capture = one.book.refreshing and one.book.refresh_reason == FOR_CAPTURE
    return FOR_CAPTURE if wanted_by_capture else ""


def urgency(one: InstrumentFeed) -> Priority:
    """What the snapshot of a book is wanted for."""
    if one.book.refreshing:
        return Priority.DEEPEN if one.book.refresh_reason == "depth" else Priority.REFRESH
    return Priority.RESYNC if one.facts.was_live else Priority.START
