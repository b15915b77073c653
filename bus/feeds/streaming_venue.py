"""A venue's feed whose instruments are spread over connections: what is the same for every venue.

Which symbols are served, on which connections; symbols that come and go while the feed runs; the
list of what the venue has; rotation; the clock; the state of the whole. A venue's ``venue`` module
derives from :class:`StreamingVenue` and says where it is, what its connections are made of and how
its list is had.

A symbol is added on a connection with room by subscribing there, else on a new one; it is removed
by unsubscribing, and a connection without symbols is closed. The others notice nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from bus.clock import monotonic_ns, now_ns
from bus.feeds.capture_refresh import CaptureRefresh
from bus.feeds.commands import Refusal, symbols_answer, symbols_argument
from bus.feeds.errors import CommandRefused, ParseError, RestError
from bus.feeds.feed import Feed
from bus.feeds.listing import Choice, Listed, chosen, nearest, unlisted
from bus.feeds.log_limit import LogLimit
from bus.feeds.rotation import rotate_all
from bus.feeds.session import Session
from bus.feeds.status import ConnectionFacts, Patience, Verdict, judge_feed
from bus.feeds.venue_connection import SUBSCRIBE, UNSUBSCRIBE, VenueConnection
from bus.runtime.log import Logger

if TYPE_CHECKING:  # not every venue has any use for an HTTP client
    from bus.feeds.rest import RestClient

CHECK_EVERY_S: Final = 0.25
"""Silence and states are looked at this often: a change shows well within a second."""
FIRST_ANSWER_S: Final = 3.0
"""How long the streams wait for the list of symbols."""
SAY_AGAIN_NS: Final = 300_000_000_000
"""That the list cannot be had is logged this often."""
SKEW_SHOWN_NS: Final = 1_000_000_000
"""Clocks that differ by this much are worth a remark."""

C = TypeVar("C", bound=VenueConnection[Any])


class StreamingVenue(ABC, Generic[C]):
    """A :class:`~bus.feeds.feed.VenueFeed`; ``rest`` (opened and closed here) if any is used."""

    streams_a_symbol: int
    """How many subscriptions one symbol takes."""

    def __init__(self, feed: Feed, log: Logger, rest: RestClient | None = None) -> None:
        self._feed = feed
        self._log = log
        self._rest = rest
        self._served: list[tuple[Session, C]] = []
        self._rejected: dict[str, str] = {}
        self._opened = 0
        self._starting: list[ConnectionFacts] = [ConnectionFacts()]
        self._changing = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._keepers: dict[str, list[asyncio.Task[None]]] = {}
        self._patience = Patience(feed.settings.give_up_after_s, time.monotonic())
        self._log_unlisted = LogLimit(log.warning, interval_ns=SAY_AGAIN_NS)
        self._refresh = CaptureRefresh()
        feed.commands.update(
            rotate=self.rotate,
            add_symbols=self.add_symbols,
            remove_symbols=self.remove_symbols,
            list_symbols=self.list_symbols,
        )

    # what a venue says of itself

    @abstractmethod
    def _url(self) -> str:
        """Where connections go."""

    @abstractmethod
    def _connection(self, instruments: Sequence[Listed]) -> C:
        """The handler of a new connection, with these instruments on it."""

    @abstractmethod
    def _guess(self, symbol: str) -> Listed:
        """The instrument of a symbol, as long as the venue has not told."""

    @abstractmethod
    async def _ask_list(self, symbols: Sequence[str]) -> Mapping[str, Listed]:
        """The venue's instruments by symbol, at least those of ``symbols`` that there are.

        Raises RestError, ParseError, TimeoutError.
        """

    def _keep(self, connection: C, symbol: str) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs beside the streams as long as a symbol is served."""
        return ()

    def _figures(self) -> dict[str, int | float | str]:
        """Counters of the venue's own."""
        return {}

    def _remarks(self) -> list[str]:
        """What an operator should know beside the state; changes seldom, each is a tick."""
        skew_ns = self._feed.skew.recent_ns
        if skew_ns is not None and abs(skew_ns) >= SKEW_SHOWN_NS:
            return [f"clocks differ by {skew_ns / 1e9:+.1f} s"]
        return []

    # life

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        self._judge_feed()
        async with self._rest or contextlib.nullcontext():
            choice, known = await self._choose()
            for symbol, why in choice.rejected.items():
                self._reject(symbol, why)
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._starting = []
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
                keepers = [keeper for kept in self._keepers.values() for keeper in kept]
                for helper in [*helpers, *keepers]:
                    helper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of sessions, books and REST, summed over all symbols."""
        sessions = [session for session, _ in self._served]
        books = [one.book.stats() for one in self._instruments()]
        skew_ns = self._feed.skew.recent_ns
        late_ns = max((each.lateness.worst_ns for _, each in self._served), default=0)
        report: dict[str, int | float | str] = {
            "symbols": len(books),
            "connections": sum(session.connected for session in sessions),
            "reconnects": sum(session.reconnects for session in sessions),
            "connect_waits": self._feed.attempts.waits,
            "book_syncs": sum(book.syncs for book in books),
            "resyncs": sum(max(0, book.syncs - 1) for book in books),
            "book_crossed": sum(book.crossed for book in books),
            "books_waiting": self._books_waiting(),
            "clock_skew_ms": round(skew_ns / 1e6, 3) if skew_ns is not None else 0.0,
            "lateness_ms": round(late_ns / 1e6, 3),
        }
        if self._rest is not None:
            report |= self._rest.report()
        return report | self._figures()

    def broker_attached(self) -> None:
        """Books are deltas: the broker's cache needs a whole one to start from."""
        now_wall_ns, now_mono_ns = now_ns(), monotonic_ns()
        for one in self._instruments():
            one.book.publish_snapshot(now_wall_ns, now_mono_ns)

    def _instruments(self) -> list[Any]:
        return [one for _, each in self._served for one in each.instruments.values()]

    def _books_waiting(self) -> int:
        return sum(not (one.book.synced or one.facts.rejected) for one in self._instruments())

    # commands

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Replace every connection by a new one, opened before the old one is closed."""
        return await rotate_all([session for session, _ in self._served], self._feed.counters)

    async def list_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is served, each with its state, and what the venue does not list."""
        states, refused = {}, dict(self._rejected)
        for _, connection in self._served:
            for symbol, one in connection.instruments.items():
                if one.facts.rejected:
                    refused[symbol] = one.facts.rejected
                else:
                    states[symbol] = connection.verdict(symbol).state
        return {"symbols": list(states), "states": states, "refused": refused}

    async def add_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Serve more symbols, until the process ends; the others lose nothing."""
        wanted = symbols_argument(arguments)
        async with self._changing:
            new = [symbol for symbol in wanted if symbol not in self._symbols()]
            try:
                refusals = await self._add_listed(new) if new else []
            finally:
                self._close_empty()  # one that was made to ask for the list
            self._judge_feed()
            return symbols_answer(self._symbols(), refusals)

    async def _add_listed(self, wanted: Sequence[str]) -> list[Refusal]:
        """Serve those that the venue lists; the others. Raises CommandRefused."""
        try:
            listed = await self._ask_list(wanted)
        except (RestError, ParseError, TimeoutError) as error:
            why = str(error) or "no answer"
            raise CommandRefused(f"the venue's list cannot be read: {why}") from None
        choice = await chosen(wanted, listed)
        for instrument in choice.instruments:
            await self._remove(instrument.symbol)  # refused before, and listed now
            self._rejected.pop(instrument.symbol, None)
        await self._add(choice.instruments)
        return [
            Refusal(symbol, unlisted(symbol), choice.nearest[symbol]) for symbol in choice.rejected
        ]

    async def remove_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Serve symbols no more; the others lose nothing. Their status says ``removed``."""
        wanted = symbols_argument(arguments)
        async with self._changing:
            refusals = []
            for symbol in wanted:
                was_rejected = self._rejected.pop(symbol, None) is not None
                if not await self._remove(symbol) and not was_rejected:
                    near = nearest(symbol, self._symbols())
                    refusals.append(Refusal(symbol, f"{symbol} is not served", near))
                    continue
                removed = Verdict("closed", "removed", "removed by an operator")
                self._feed.board.say(symbol, removed, now_ns())
                self._log.info("symbol removed", symbol=symbol)
            self._judge_feed()
            return symbols_answer(self._symbols(), refusals)

    # symbols

    def _symbols(self) -> list[str]:
        """Those served, without those that the venue has been found not to list."""
        return [one.instrument.symbol for one in self._instruments() if not one.facts.rejected]

    async def _choose(self) -> tuple[Choice, bool]:
        """What to serve, and whether the venue was asked: streams do not wait for its list."""
        wanted = self._feed.settings.symbols
        if not wanted:
            return Choice((), {}), True
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                listed = await self._ask_list(wanted)
        except (RestError, ParseError, TimeoutError) as error:
            self._not_listed(str(error) or "no answer", 0)
            return Choice(self._guesses(), {}), False
        return await chosen(wanted, listed), True

    def _guesses(self) -> tuple[Listed, ...]:
        return tuple(map(self._guess, dict.fromkeys(self._feed.settings.symbols)))

    async def _keep_listing(self, known: bool) -> None:
        """Ask for the symbols until an answer comes, then look for changes now and again."""
        attempt = 0
        while True:
            every_s = self._feed.settings.instrument_poll_s
            await asyncio.sleep(
                every_s if known else self._feed.backoff.delay_s(attempt, random.random())
            )
            attempt += 1
            symbols = [one.instrument.symbol for one in self._instruments()]
            if not symbols:
                continue
            try:
                listed = await self._ask_list(symbols)
            except (RestError, ParseError, TimeoutError) as error:
                self._not_listed(str(error) or "no answer", attempt)
                continue
            known = True
            async with self._changing:
                await self._compare(listed)

    async def _compare(self, listed: Mapping[str, Listed]) -> None:
        """Take over what the venue's list says of the symbols that are here."""
        symbols = [one.instrument.symbol for one in self._instruments()]
        rejected = (await chosen(symbols, listed)).rejected
        for session, connection in list(self._served):
            streams = []
            for symbol in list(connection.instruments):
                if symbol in listed:
                    streams += connection.list_as(listed[symbol])
                elif symbol in rejected:
                    connection.refuse(symbol, rejected[symbol])
            await connection.ask(session, SUBSCRIBE, streams)

    def _not_listed(self, why: str, attempt: int) -> None:
        self._log_unlisted(
            monotonic_ns(), "list", "symbols not checked yet", detail=why, attempt=attempt
        )

    def _reject(self, symbol: str, why: str) -> None:
        self._rejected[symbol] = why
        self._log.error("symbol refused", symbol=symbol, reason=why)
        self._feed.board.say(symbol, Verdict("down", "unknown_symbol", why), now_ns())

    # connections

    @property
    def _symbols_a_connection(self) -> int:
        return max(1, self._feed.settings.streams_per_connection // self.streams_a_symbol)

    def _serve(self, instruments: Sequence[Listed]) -> None:
        """Spread instruments over new connections."""
        most = self._symbols_a_connection
        for start in range(0, len(instruments), most):
            self._open(instruments[start : start + most])

    def _open(self, instruments: Sequence[Listed]) -> None:
        """One more connection, with these instruments on it."""
        feed, tasks, url = self._feed, self._tasks, self._url()
        if tasks is None:
            return
        connection = self._connection(instruments)
        self._opened += 1
        settings = feed.session_settings(f"{feed.name}.{self._opened}")
        session = Session(lambda: url, url, connection, settings, attempts=feed.attempts)
        self._served.append((session, connection))
        tasks.create_task(session.run())
        for instrument in instruments:
            self._begin_keeping(connection, instrument.symbol)

    def _begin_keeping(self, connection: C, symbol: str) -> None:
        if self._tasks is not None:
            self._keepers[symbol] = [
                self._tasks.create_task(work) for work in self._keep(connection, symbol)
            ]

    async def _add(self, instruments: Sequence[Listed]) -> None:
        """On connections with room first, with one subscription each; then on new ones."""
        left = list(instruments)
        for session, connection in list(self._served):
            room = self._symbols_a_connection - len(connection.instruments)
            here, left = left[: max(0, room)], left[max(0, room) :]
            if here and self._tasks is not None:
                streams = [name for one in here for name in connection.add(one)]
                for one in here:
                    self._begin_keeping(connection, one.symbol)
                connection.judge_all()
                await connection.ask(session, SUBSCRIBE, streams)
        self._serve(left)

    async def _remove(self, symbol: str) -> bool:
        """Whether the symbol was served."""
        for session, connection in list(self._served):
            if symbol in connection.instruments:
                for keeper in self._keepers.pop(symbol, ()):
                    keeper.cancel()
                streams = connection.remove(symbol)
                if connection.instruments:
                    await connection.ask(session, UNSUBSCRIBE, streams)
                else:
                    self._close_empty()
                return True
        return False

    def _close_empty(self) -> None:
        """A connection without symbols hears nothing and would be taken for dead."""
        for session, connection in list(self._served):
            if not connection.instruments:
                self._served.remove((session, connection))
                session.stop()

    # the clock

    async def _clock(self) -> None:
        while True:
            for session, connection in self._served:
                connection.check(session)
            self._judge_feed()
            capture = self._feed.capture
            if capture is not None and self._refresh.due(capture.files, time.monotonic()):
                for _, connection in self._served:
                    connection.refresh_books()
            await asyncio.sleep(CHECK_EVERY_S)

    def _judge_feed(self) -> None:
        facts = [connection.facts for _, connection in self._served]
        verdicts = [
            connection.verdict(symbol)
            for _, connection in self._served
            for symbol in connection.instruments
        ]
        verdicts += [Verdict("down", "unknown_symbol")] * len(self._rejected)
        verdict = judge_feed(facts or self._starting, verdicts)
        late = [one.late for one in facts if one.late]
        detail = "; ".join(filter(None, [verdict.detail, *self._remarks(), *late[:1]]))
        verdict = Verdict(verdict.state, verdict.reason, detail)
        if self._feed.board.say("", verdict, now_ns()):
            self._log.info("feed", state=verdict.state, reason=verdict.reason, detail=detail or "-")
        over = self._patience.is_over(verdict, time.monotonic())
        if over and self._feed.give_up is not None:
            limit_s = self._feed.settings.give_up_after_s
            self._feed.give_up(f"nothing came for {limit_s:g} s: {verdict.reason}: {detail}")
