"""The Binance feed: which symbols on which connections, snapshots for their books, the clock.

Wiring only; frames are handled in ``connection``, instruments in ``instrument_feed``.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.binance import endpoints
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.parser import parse_snapshot
from bus.feeds.binance.symbols import (
    Choice,
    ExchangeInfo,
    Instrument,
    choose,
    guess,
    parse_exchange_info,
)
from bus.feeds.errors import ParseError, RestError
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.rest import RestClient
from bus.feeds.session import Session
from bus.feeds.status import ConnectionFacts, Verdict, judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

CHECK_EVERY_S: Final = 0.25
"""Silence and states are looked at this often: a change shows well within a second."""
FIRST_ANSWER_S: Final = 3.0
"""How long the streams wait for the list of symbols."""
CALM_S: Final = 10.0
"""A book that wants a snapshot sooner than this after the last one waits its turn: no storms."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running."""
    return BinanceFeed(feed)


class BinanceFeed:
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._served: list[tuple[Session, Connection]] = []
        self._rejected: dict[str, str] = {}
        self._rest: RestClient | None = None
        self._starting = ConnectionFacts()

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        self._judge_feed()
        async with RestClient(
            feed.rest_base or endpoints.REST_BASE,
            budget_per_minute=feed.settings.rest_weight_per_minute
            or endpoints.WEIGHT_PER_MINUTE // 2,
            timeout_s=feed.settings.rest_timeout_s,
            weight_header=endpoints.WEIGHT_HEADER,
            capture=feed.capture,
        ) as rest:
            self._rest = rest
            choice, known = await self._choose(rest)
            for symbol, why in choice.rejected.items():
                self._reject(symbol, why)
            self._connect(choice.instruments)
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._clock())]
                if not known:
                    helpers.append(tasks.create_task(self._list_later(rest)))
                for session, connection in self._served:
                    tasks.create_task(session.run())
                    helpers += [
                        tasks.create_task(self._keep_book(rest, connection, symbol))
                        for symbol in connection.instruments
                    ]
                feed.started()
                await feed.stopping.wait()
                for session, _ in self._served:
                    session.stop()
                for helper in helpers:
                    helper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of sessions, books and REST, summed over all symbols."""
        sessions = [session for session, _ in self._served]
        books = [
            one.book.stats()
            for _, connection in self._served
            for one in connection.instruments.values()
        ]
        report: dict[str, int | float | str] = {
            "connections": sum(session.connected for session in sessions),
            "reconnects": sum(session.reconnects for session in sessions),
            "book_syncs": sum(book.syncs for book in books),
            "resyncs": sum(max(0, book.syncs - 1) for book in books),
            "book_refreshes": sum(book.refreshes for book in books),
            "book_crossed": sum(book.crossed for book in books),
            "book_audit_ok": sum(book.audit_ok for book in books),
            "book_audit_mismatch": sum(book.audit_mismatch for book in books),
            "diffs_buffered": sum(book.sync.buffered for book in books),
            "diffs_dropped": sum(book.sync.buffer_dropped for book in books),
            "snapshots_too_old": sum(book.sync.snapshots_too_old for book in books),
        }
        if self._rest is not None:
            weight = self._rest.stats()
            report["rest_calls"] = self._rest.calls
            report["rest_failures"] = self._rest.failures
            report["rest_weight_used"] = weight.used
            report["rest_blocked_s"] = round(weight.blocked_s, 1)
        return report

    def broker_attached(self) -> None:
        """Books are deltas: the broker's cache needs a whole one to start from."""
        now_wall_ns, now_mono_ns = now_ns(), monotonic_ns()
        for _, connection in self._served:
            for one in connection.instruments.values():
                one.book.publish_snapshot(now_wall_ns, now_mono_ns)

    # symbols

    async def _choose(self, rest: RestClient) -> tuple[Choice, bool]:
        """What to serve, and whether the venue was asked: streams do not wait for its REST."""
        wanted = self._feed.settings.symbols
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                info = await self._exchange_info(rest)
        except (RestError, ParseError, TimeoutError) as error:
            _log.warning("symbols not checked yet", detail=str(error) or "no answer")
            return Choice(tuple(guess(symbol) for symbol in dict.fromkeys(wanted)), {}), False
        self._budget(rest, info)
        return choose(wanted, info.instruments), True

    async def _exchange_info(self, rest: RestClient) -> ExchangeInfo:
        """The wanted symbols only (the whole list is megabytes), unless one is not known."""
        names = [guess(symbol).venue_symbol for symbol in self._feed.settings.symbols]
        some = {"symbols": json.dumps(names, separators=(",", ":"))}
        weight = endpoints.EXCHANGE_INFO_WEIGHT
        try:
            reply = await rest.get(endpoints.EXCHANGE_INFO_PATH, some, weight=weight)
        except RestError as error:
            if error.kind != "refused":
                raise
            reply = await rest.get(endpoints.EXCHANGE_INFO_PATH, {}, weight=weight)
        info = parse_exchange_info(reply.body)
        if all(symbol in info.instruments for symbol in self._feed.settings.symbols):
            return info
        reply = await rest.get(endpoints.EXCHANGE_INFO_PATH, {}, weight=weight)
        return parse_exchange_info(reply.body)

    def _budget(self, rest: RestClient, info: ExchangeInfo) -> None:
        if not self._feed.settings.rest_weight_per_minute and info.weight_per_minute:
            rest.allow(max(1, info.weight_per_minute // 2))

    async def _list_later(self, rest: RestClient) -> None:
        """Ask for the symbols until an answer comes; then refuse those that do not exist."""
        attempt = 0
        while True:
            await asyncio.sleep(self._feed.backoff.delay_s(attempt, random.random()))
            attempt += 1
            try:
                info = await self._exchange_info(rest)
            except (RestError, ParseError) as error:
                _log.warning("symbols not checked yet", detail=str(error), attempt=attempt)
                continue
            break
        self._budget(rest, info)
        choice = choose(self._feed.settings.symbols, info.instruments)
        for symbol, why in choice.rejected.items():
            self._reject(symbol, why)
        by_symbol = {instrument.symbol: instrument for instrument in choice.instruments}
        for _, connection in self._served:
            for symbol, one in connection.instruments.items():
                if symbol in by_symbol:
                    connection.list_as(by_symbol[symbol])
                else:
                    one.facts.rejected = choice.rejected[symbol]

    def _reject(self, symbol: str, why: str) -> None:
        self._rejected[symbol] = why
        _log.error("symbol refused", symbol=symbol, reason=why)
        self._feed.board.say(symbol, Verdict("down", "unknown_symbol", why), now_ns())

    # connections

    def _connect(self, instruments: tuple[Instrument, ...]) -> None:
        feed = self._feed
        base = (feed.ws_base or endpoints.WS_BASE).rstrip("/")
        url = f"{base}{endpoints.COMBINED_PATH}"
        a_connection = max(1, feed.settings.streams_per_connection // len(endpoints.STREAMS))
        for start in range(0, len(instruments), a_connection):
            connection = Connection(feed, instruments[start : start + a_connection])
            settings = feed.session_settings(f"{feed.name}.{len(self._served) + 1}")
            session = Session(lambda: url, url, connection, settings, attempts=feed.attempts)
            self._served.append((session, connection))

    async def _clock(self) -> None:
        while True:
            for session, connection in self._served:
                connection.check(session)
            self._judge_feed()
            await asyncio.sleep(CHECK_EVERY_S)

    def _judge_feed(self) -> None:
        connections = [connection.facts for _, connection in self._served] or [self._starting]
        verdicts = [
            connection.verdict(symbol)
            for _, connection in self._served
            for symbol in connection.instruments
        ]
        verdicts += [Verdict("down", "unknown_symbol")] * len(self._rejected)
        verdict = judge_feed(connections, verdicts)
        if self._feed.board.say("", verdict, now_ns()):
            _log.info(
                "feed", state=verdict.state, reason=verdict.reason, detail=verdict.detail or "-"
            )

    # books

    async def _keep_book(self, rest: RestClient, connection: Connection, symbol: str) -> None:
        """Fetch a snapshot whenever the book of one symbol wants one; nobody else waits for it."""
        one = connection.instruments[symbol]
        limit = self._feed.settings.depth_limit
        params: dict[str, str | int] = {"symbol": one.instrument.venue_symbol, "limit": limit}
        weight = endpoints.depth_weight(limit)
        wanted = connection.wanted[symbol]
        loop = asyncio.get_running_loop()
        attempt = 0
        answered_s = -CALM_S
        while True:
            await wanted.wait()
            if not one.book.wants_snapshot:
                wanted.clear()
                continue
            if loop.time() - answered_s < CALM_S:
                await asyncio.sleep(self._feed.backoff.delay_s(attempt, random.random()))
                attempt += 1
            else:
                attempt = 0
            try:
                reply = await rest.get(endpoints.DEPTH_PATH, params, weight=weight)
                snapshot = parse_snapshot(reply.body)
            except (RestError, ParseError) as error:
                _log.warning("no snapshot", symbol=symbol, detail=str(error), attempt=attempt)
                kind = error.kind if isinstance(error, RestError) else "malformed"
                connection.snapshot_failed(symbol, kind)
                answered_s = loop.time()
                continue
            answered_s = loop.time()
            if not one.book.on_snapshot(
                snapshot.last_update_id, snapshot.bids, snapshot.asks, reply.recv_ns, monotonic_ns()
            ):
                _log.info("snapshot of no use", symbol=symbol, last_id=snapshot.last_update_id)
