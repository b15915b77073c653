"""The Binance feed: which symbols on which connections, symbols that come and go, the clock.

Wiring only; frames are handled in ``connection``, instruments in ``instrument_feed``, snapshots
in ``books``, the list of instruments in ``listing``.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.binance import endpoints
from bus.feeds.binance.books import BookKeeper
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.listing import Listing
from bus.feeds.binance.symbols import Choice, Instrument, choose, guess, nearest
from bus.feeds.commands import Refusal, rotation_answer, symbols_answer, symbols_argument
from bus.feeds.errors import CommandRefused, ParseError, RestError
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.log_limit import LogLimit
from bus.feeds.rest import RestClient
from bus.feeds.session import Session
from bus.feeds.status import ConnectionFacts, Patience, Verdict, judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

CHECK_EVERY_S: Final = 0.25
"""Silence and states are looked at this often: a change shows well within a second."""
FIRST_ANSWER_S: Final = 3.0
"""How long the streams wait for the list of symbols."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    venue = BinanceFeed(feed)
    feed.commands.update(
        rotate=venue.rotate,
        add_symbols=venue.add_symbols,
        remove_symbols=venue.remove_symbols,
        list_symbols=venue.list_symbols,
    )
    return venue


class BinanceFeed:
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._served: list[tuple[Session, Connection]] = []
        self._rejected: dict[str, str] = {}
        self._opened = 0
        self._starting = ConnectionFacts()
        self._changing = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._patience = Patience(feed.settings.give_up_after_s, time.monotonic())
        self._log_progress = LogLimit(_log.info)
        base = feed.rest_base or endpoints.REST_BASE
        self._rest = RestClient(
            base,
            budget_per_minute=feed.settings.rest_weight_per_minute
            or endpoints.WEIGHT_PER_MINUTE // 2,
            timeout_s=feed.settings.rest_timeout_s,
            weight_header=endpoints.WEIGHT_HEADER,
            shared=feed.weight_ledger(base),
            capture=feed.capture,
        )
        self._listing = Listing(feed, self._rest)
        self._books = BookKeeper(feed, self._rest, self._books_waiting)

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        self._judge_feed()
        async with self._rest:
            choice, known = await self._choose()
            for symbol, why in choice.rejected.items():
                self._reject(symbol, why)
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._serve(choice.instruments)
                helpers = [
                    tasks.create_task(self._clock()),
                    tasks.create_task(self._keep_listing(known)),
                ]
                feed.started()
                await feed.stopping.wait()
                self._tasks = None
                for session, _ in self._served:
                    session.stop()
                for helper in [*helpers, *self._keepers.values()]:
                    helper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of sessions, books and REST, summed over all symbols."""
        sessions = [session for session, _ in self._served]
        connections = [connection for _, connection in self._served]
        books = [
            one.book.stats()
            for connection in connections
            for one in connection.instruments.values()
        ]
        begun = [book.refreshes_begun for book in books]
        weight = self._rest.stats()
        skew_ns = self._feed.skew.minimum_ns
        late_ns = max((connection.lateness.worst_ns for connection in connections), default=0)
        return {
            "symbols": len(books),
            "connections": sum(session.connected for session in sessions),
            "reconnects": sum(session.reconnects for session in sessions),
            "connect_waits": self._feed.attempts.waits,
            "book_syncs": sum(book.syncs for book in books),
            "resyncs": sum(max(0, book.syncs - 1) for book in books),
            "books_waiting": self._books_waiting(),
            "books_shallow": self._books.shallow,
            "book_refreshes": sum(book.refreshes for book in books),
            "book_refresh_audit": sum(reasons.get("audit", 0) for reasons in begun),
            "book_refresh_edge": sum(reasons.get("edge", 0) for reasons in begun),
            "book_refresh_age": sum(reasons.get("age", 0) for reasons in begun),
            "book_crossed": sum(book.crossed for book in books),
            "book_audit_ok": sum(book.audit_ok for book in books),
            "book_audit_mismatch": sum(book.audit_mismatch for book in books),
            "diffs_buffered": sum(book.sync.buffered for book in books),
            "diffs_dropped": sum(book.sync.buffer_dropped for book in books),
            "snapshots_too_old": sum(book.sync.snapshots_too_old for book in books),
            "clock_skew_ms": round(skew_ns / 1e6, 3) if skew_ns is not None else 0.0,
            "lateness_ms": round(late_ns / 1e6, 3),
            "rest_calls": self._rest.calls,
            "rest_failures": self._rest.failures,
            "rest_waiting": self._rest.waiting,
            "rest_weight_used": weight.used,
            "rest_weight_limit": weight.limit,
            "rest_blocked_s": round(weight.blocked_s, 1),
        }

    def broker_attached(self) -> None:
        """Books are deltas: the broker's cache needs a whole one to start from."""
        now_wall_ns, now_mono_ns = now_ns(), monotonic_ns()
        for _, connection in self._served:
            for one in connection.instruments.values():
                one.book.publish_snapshot(now_wall_ns, now_mono_ns)

    # commands

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Replace every connection by a new one, opened before the old one is closed."""
        started_s, duplicates = time.monotonic(), self._feed.counters.duplicates
        sessions = [session for session, _ in self._served]
        replaced = await asyncio.gather(*(session.rotate() for session in sessions))
        if not any(replaced) and sessions:
            raise CommandRefused("no connection was replaced: see the log; the old ones serve on")
        return rotation_answer(
            sum(replaced),
            time.monotonic() - started_s,
            self._feed.counters.duplicates - duplicates,
        )

    async def list_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is served, each with its state."""
        states = {
            symbol: connection.verdict(symbol).state
            for _, connection in self._served
            for symbol in connection.instruments
        }
        return {"symbols": list(states), "states": states, "refused": dict(self._rejected)}

    async def add_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Serve more symbols, until the process ends; the others lose nothing."""
        wanted = symbols_argument(arguments)
        async with self._changing:
            new = [symbol for symbol in wanted if symbol not in self._symbols()]
            refusals: list[Refusal] = []
            if new:
                try:
                    listed = (await self._listing.ask(new)).instruments
                except (RestError, ParseError) as error:
                    raise CommandRefused(f"the venue's list cannot be read: {error}") from None
                choice = choose(new, listed)
                for symbol in choice.rejected:
                    near = await asyncio.to_thread(nearest, symbol, listed)
                    refusals.append(Refusal(symbol, f"the venue lists no {symbol}", near))
                for instrument in choice.instruments:
                    self._rejected.pop(instrument.symbol, None)
                await self._add(choice.instruments)
                self._judge_feed()
            return symbols_answer(self._symbols(), refusals)

    async def remove_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Serve symbols no more; the others lose nothing. Their status says ``removed``."""
        wanted = symbols_argument(arguments)
        async with self._changing:
            refusals = []
            for symbol in wanted:
                if symbol in self._symbols():
                    await self._remove(symbol)
                elif self._rejected.pop(symbol, None) is None:
                    near = nearest(symbol, self._symbols())
                    refusals.append(Refusal(symbol, f"{symbol} is not served", near))
                    continue
                removed = Verdict("closed", "removed", "removed by an operator")
                self._feed.board.say(symbol, removed, now_ns())
                _log.info("symbol removed", symbol=symbol)
            self._judge_feed()
            return symbols_answer(self._symbols(), refusals)

    # symbols

    def _symbols(self) -> list[str]:
        return [symbol for _, connection in self._served for symbol in connection.instruments]

    async def _choose(self) -> tuple[Choice, bool]:
        """What to serve, and whether the venue was asked: streams do not wait for its REST."""
        wanted = self._feed.settings.symbols
        if not wanted:
            return Choice((), {}), True
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                info = await self._listing.ask(wanted)
        except (RestError, ParseError, TimeoutError) as error:
            _log.warning("symbols not checked yet", detail=str(error) or "no answer")
            return Choice(tuple(guess(symbol) for symbol in dict.fromkeys(wanted)), {}), False
        return choose(wanted, info.instruments), True

    async def _keep_listing(self, known: bool) -> None:
        """Ask for the symbols until an answer comes, then look for changes now and again."""
        attempt = 0
        while True:
            every_s = self._feed.settings.instrument_poll_s
            await asyncio.sleep(
                every_s if known else self._feed.backoff.delay_s(attempt, random.random())
            )
            attempt += 1
            symbols = self._symbols()
            if not symbols:
                continue
            try:
                info = await self._listing.ask(symbols)
            except (RestError, ParseError) as error:
                _log.warning("symbols not checked", detail=str(error), attempt=attempt)
                continue
            known = True
            choice = choose(symbols, info.instruments)
            by_symbol = {instrument.symbol: instrument for instrument in choice.instruments}
            for _, connection in self._served:
                for symbol, one in connection.instruments.items():
                    if symbol in by_symbol:
                        connection.list_as(by_symbol[symbol])
                    elif symbol in choice.rejected and not one.facts.rejected:
                        one.facts.rejected = choice.rejected[symbol]
                        _log.error("symbol refused", symbol=symbol, reason=one.facts.rejected)

    def _reject(self, symbol: str, why: str) -> None:
        self._rejected[symbol] = why
        _log.error("symbol refused", symbol=symbol, reason=why)
        self._feed.board.say(symbol, Verdict("down", "unknown_symbol", why), now_ns())

    # connections

    def _serve(self, instruments: tuple[Instrument, ...]) -> None:
        """Spread instruments over new connections, and keep their books."""
        feed = self._feed
        tasks = self._tasks
        if tasks is None:
            return
        base = (feed.ws_base or endpoints.WS_BASE).rstrip("/")
        url = f"{base}{endpoints.COMBINED_PATH}"
        most = self._symbols_a_connection
        for start in range(0, len(instruments), most):
            connection = Connection(feed, instruments[start : start + most])
            self._opened += 1
            settings = feed.session_settings(f"{feed.name}.{self._opened}")
            session = Session(lambda: url, url, connection, settings, attempts=feed.attempts)
            self._served.append((session, connection))
            tasks.create_task(session.run())
            for symbol in connection.instruments:
                self._keep(tasks, connection, symbol)

    def _keep(self, tasks: asyncio.TaskGroup, connection: Connection, symbol: str) -> None:
        self._keepers[symbol] = tasks.create_task(self._books.keep(connection, symbol))

    @property
    def _symbols_a_connection(self) -> int:
        return max(1, self._feed.settings.streams_per_connection // len(endpoints.STREAMS))

    async def _add(self, instruments: tuple[Instrument, ...]) -> None:
        """On connections with room first, with one SUBSCRIBE each; then on new ones."""
        left = list(instruments)
        for session, connection in self._served:
            room = self._symbols_a_connection - len(connection.instruments)
            here, left = left[: max(0, room)], left[max(0, room) :]
            if here and self._tasks is not None:
                streams = [name for one in here for name in connection.add(one)]
                for one in here:
                    self._keep(self._tasks, connection, one.symbol)
                connection.judge_all()
                await connection.ask(session, "SUBSCRIBE", streams)
        self._serve(tuple(left))

    async def _remove(self, symbol: str) -> None:
        for session, connection in self._served:
            if symbol in connection.instruments:
                self._keepers.pop(symbol).cancel()
                streams = connection.remove(symbol)
                if not connection.instruments and len(self._served) > 1:
                    self._served.remove((session, connection))
                    session.stop()
                else:
                    await connection.ask(session, "UNSUBSCRIBE", streams)
                return

    # the clock

    async def _clock(self) -> None:
        while True:
            for session, connection in self._served:
                connection.check(session)
            self._judge_feed()
            await asyncio.sleep(CHECK_EVERY_S)

    def _books_waiting(self) -> int:
        return sum(
            not one.book.synced
            for _, connection in self._served
            for one in connection.instruments.values()
        )

    def _judge_feed(self) -> None:
        connections = [connection.facts for _, connection in self._served] or [self._starting]
        verdicts = [
            connection.verdict(symbol)
            for _, connection in self._served
            for symbol in connection.instruments
        ]
        verdicts += [Verdict("down", "unknown_symbol")] * len(self._rejected)
        verdict = judge_feed(connections, verdicts)
        detail = "; ".join(filter(None, [verdict.detail, *self._remarks()]))
        verdict = Verdict(verdict.state, verdict.reason, detail)
        if self._feed.board.say("", verdict, now_ns()):
            _log.info(
                "feed", state=verdict.state, reason=verdict.reason, detail=verdict.detail or "-"
            )
        over = self._patience.is_over(verdict, time.monotonic())
        if over and self._feed.give_up is not None:
            limit_s = self._feed.settings.give_up_after_s
            self._feed.give_up(f"nothing came for {limit_s:g} s: {verdict.reason}: {detail}")

    def _remarks(self) -> list[str]:
        """What an operator should know beside the state; changes seldom, each is a tick."""
        remarks = []
        waiting = self._books_waiting()
        if waiting and self._served:
            remarks.append(f"{waiting} books wait for their snapshot")
            weight = self._rest.stats()
            if weight.blocked_s > 0:
                until = time.strftime("%H:%M:%S", time.gmtime(time.time() + weight.blocked_s + 0.5))
                why = "banned (418)" if weight.banned else "limited (429)"
                remarks.append(f"REST {why} until {until} UTC")
            if self._rest.waiting:
                self._log_progress(
                    monotonic_ns(),
                    "snapshots",
                    "snapshots under way",
                    books_waiting=waiting,
                    calls_waiting=self._rest.waiting,
                    weight_used=weight.used,
                    weight_limit=weight.limit,
                )
        late = [connection.facts.late for _, connection in self._served if connection.facts.late]
        skew_ns = self._feed.skew.minimum_ns
        if skew_ns is not None and abs(skew_ns) >= 1_000_000_000:
            remarks.append(f"clocks differ by {skew_ns / 1e9:+.1f} s")
        return remarks + late[:1]
