"""One Binance connection and the instruments on it: frames to events, events to instruments.

This is the handler of a :class:`~bus.feeds.session.Session`. It subscribes, routes, watches for
silence and keeps the facts that statuses are judged from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.binance import endpoints
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import ControlReply, Event, Parser, ShutdownEvent
from bus.feeds.binance.symbols import TRADING, Instrument
from bus.feeds.errors import ParseError, RotationFailed
from bus.feeds.feed import Feed
from bus.feeds.handover import Handover, Held
from bus.feeds.link import Link
from bus.feeds.log_limit import LogLimit
from bus.feeds.session import Lost, Session
from bus.feeds.skew import Lateness
from bus.feeds.status import ConnectionFacts, Verdict, judge_symbol
from bus.feeds.watchdog import Watchdog
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

RESUBSCRIBE_EVERY_NS: Final = 60_000_000_000
"""A stream that stays silent is subscribed to afresh at most this often."""
REPLACE_EVERY_NS: Final = 600_000_000_000
"""A connection is replaced for a silent or a late stream at most this often."""
MAX_REMOVED: Final = 4_096
"""Streams removed lately, whose last frames are no surprise."""
HANDOVER_LOOK_S: Final = 0.05
FLOORS_S: Final = {
    endpoints.TRADE: 20.0,
    endpoints.QUOTE: 10.0,
    endpoints.TICKER: 10.0,
    endpoints.DEPTH: 5.0,
}
"""Learned limits of silence are never shorter, whatever a stream's rhythm."""
QUIET_BOOK_NS: Final = 2_000_000_000
"""A book whose stream is quiet for so long gets its snapshot without waiting for a first diff."""


class Connection:
    """Handles one session; ``wanted`` of a symbol is set while its book wants a snapshot."""

    def __init__(self, feed: Feed, instruments: Sequence[Instrument]) -> None:
        self._feed = feed
        self._parser = Parser()
        self._counters = feed.counters
        self._log_bad = LogLimit(_log.warning)
        self._watchdog = Watchdog(feed.settings.silent_connection_s)
        self._stale_after_s = {
            endpoints.TRADE: feed.settings.stale_trades_s,
            endpoints.QUOTE: feed.settings.stale_quote_s,
            endpoints.TICKER: feed.settings.stale_ticker_s,
            endpoints.DEPTH: feed.settings.stale_depth_s,
        }
        self._next_id = 1
        self._resubscribe_due_ns = 0
        self._replace_due_ns = 0
        self._opened_ns = 0
        self._handover: Handover | None = None
        self._successor: Link | None = None
        self._removed: dict[str, None] = {}
        self.lateness = Lateness(feed.skew, feed.settings.late_event_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[str, Callable[..., None]] = {}
        self.facts = ConnectionFacts()
        self.instruments: dict[str, InstrumentFeed] = {}
        self.wanted: dict[str, asyncio.Event] = {}
        for instrument in instruments:
            self.add(instrument)

    # what a session calls

    def opening(self, session: Session) -> None:
        """Nothing to prepare."""

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Void what an earlier connection left, then subscribe to everything."""
        if not successor:
            self._opened_ns = monotonic_ns()
            self._watchdog.restart(self._opened_ns)
            self.facts.open = True
            for one in self.instruments.values():
                one.restart()
                one.book.start("book_sync")
            self.judge_all()
            await self._send(session, link, "SUBSCRIBE", list(self._routes))
            return
        orders = {name: order for one in self.instruments.values() for name, order in one.orders}
        self._handover, self._successor = Handover(orders, monotonic_ns()), link
        try:
            await self._send(session, link, "SUBSCRIBE", list(self._routes))
            await self._take_over(session, link, self._handover)
        finally:
            self._let_go()

    async def _take_over(self, session: Session, link: Link, handover: Handover) -> None:
        """Until every stream has been handed over, or waited for long enough."""
        while not handover.complete:
            if len(session.links) < 2 or link.transport.is_closing():
                return  # one of the two is gone: there is nobody to wait for
            missing = handover.missing(monotonic_ns())
            if missing:
                shown = ", ".join(missing[:10])
                raise RotationFailed(f"the new connection brings nothing of {shown}")
            if missing is not None:
                return
            await asyncio.sleep(HANDOVER_LOOK_S)

    def _let_go(self) -> None:
        handover, self._handover, self._successor = self._handover, None, None
        if handover is not None:
            for stream, held in handover.let_go():
                self._publish(stream, held)

    def _publish(self, stream: str, held: list[Held]) -> None:
        route = self._routes.get(stream)
        if route is not None:
            for event, recv_ns in held:
                route(event, recv_ns)

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """The hot path: parse, route, publish."""
        parse = self._parser.parse
        routes = self._routes
        seen = self._watchdog.seen
        mono_ns = link.last_frame_mono_ns
        market = 0
        for frame in batch:
            try:
                stream, event = parse(frame)
            except ParseError as error:
                self._malformed(error)
                continue
            route = routes.get(stream)
            if route is None:
                if stream not in self._removed:
                    self._on_other(link, event)
                continue
            if self._handover is None:
                route(event, recv_ns)
            elif link is self._successor:
                self._publish(stream, self._handover.from_new(stream, event, recv_ns))
            else:
                route(event, recv_ns)
                self._publish(stream, self._handover.after_old(stream, mono_ns))
            seen[stream] = mono_ns
            market += 1
        self._counters.messages_in += len(batch)
        if market and self.facts.failures:
            self.facts.failures = 0
        if market:
            self.facts.was_live = True
        return market

    def lost(self, session: Session, lost: Lost) -> None:
        """The connection is gone: every book on it is void."""
        facts = self.facts
        facts.open = False
        facts.failures = lost.attempt + 1
        facts.reason, facts.detail = lost.reason, lost.detail
        facts.fatal = lost.reason in ("unauthorized", "limited")
        for one in self.instruments.values():
            one.book.stop(lost.reason)
        self.judge_all()

    # what the venue's clock calls

    def check(self, session: Session) -> None:
        """Call a few times a second: silence, quiet books, statuses."""
        now_mono_ns = monotonic_ns()
        link = session.link
        if link is not None:
            findings = self._watchdog.check(now_mono_ns, link.last_frame_mono_ns)
            if findings.silent:
                session.abort("silent")
            if findings.went_stale or findings.recovered:
                self._counters.stale += len(findings.went_stale)
                self._note_stale()
            self._resubscribe(session, link, now_mono_ns)
            self._look_at_times(session, now_mono_ns)
        now_wall_ns = now_ns()
        for symbol, one in self.instruments.items():
            one.facts.has_data = one.facts.has_data or self._any_data(one)
            one.book.tick(now_wall_ns, now_mono_ns)
            quiet = now_mono_ns - self._opened_ns > QUIET_BOOK_NS
            if one.book.wants_snapshot and self.facts.open and quiet:
                self.wanted[symbol].set()
        self.judge_all()

    def verdict(self, symbol: str) -> Verdict:
        """The state of one instrument of this connection."""
        return judge_symbol(self.facts, self.instruments[symbol].facts)

    def judge_all(self) -> None:
        """Publish whatever state has changed."""
        for symbol in self.instruments:
            self._judge(symbol)

    def list_as(self, instrument: Instrument) -> None:
        """exchangeInfo came late: take over what it says about a symbol already served."""
        one = self.instruments[instrument.symbol]
        one.facts.market_closed = instrument.status != TRADING
        self.describe(instrument)
        if instrument.venue_symbol != one.instrument.venue_symbol:
            one.facts.rejected = f"the venue calls it {instrument.venue_symbol}: restart the feed"

    def describe(self, instrument: Instrument) -> None:
        """Publish what the venue says about the instrument, if it is known and news."""
        if instrument.described is not None and instrument.symbol in self.instruments:
            one = self.instruments[instrument.symbol]
            one.ticks.instrument(instrument.described, now_ns())

    def snapshot_failed(self, symbol: str, kind: str) -> None:
        """A REST call for a book brought nothing: say so, unless the book is in step anyway."""
        one = self.instruments.get(symbol)
        if one is not None and not one.book.synced:
            book = one.book
            book.lost_reason = f"snapshot_{kind}"
            self._on_book(symbol)

    # symbols that come and go

    def add(self, instrument: Instrument) -> list[str]:
        """Serve one more; returns its streams, to be subscribed to (``ask``)."""
        symbol = instrument.symbol
        one = InstrumentFeed(
            self._feed, instrument, lambda: self._on_book(symbol), self.lateness.delays
        )
        self.instruments[symbol] = one
        self.describe(instrument)
        self.wanted[symbol] = asyncio.Event()
        now_mono_ns = monotonic_ns()
        for stream, route in one.routes.items():
            self._routes[stream] = route
            self._removed.pop(stream, None)
            kind = stream.partition("@")[2]
            self._watchdog.watch(
                stream, self._stale_after_s[kind], now_mono_ns, floor_s=FLOORS_S[kind]
            )
        if self.facts.open:
            one.book.start("book_sync")
        return list(one.routes)

    def remove(self, symbol: str) -> list[str]:
        """Serve one no more; returns its streams. Frames still under way are dropped."""
        one = self.instruments.pop(symbol)
        del self.wanted[symbol]
        for stream in one.routes:
            del self._routes[stream]
            self._watchdog.unwatch(stream)
            self._removed[stream] = None
            if len(self._removed) > MAX_REMOVED:
                del self._removed[next(iter(self._removed))]
        one.book.stop("removed")
        return list(one.routes)

    async def ask(self, session: Session, method: str, streams: list[str]) -> None:
        """``SUBSCRIBE`` or ``UNSUBSCRIBE`` on every open connection, a coming one included."""
        for link in session.links:
            await self._send(session, link, method, streams)

    # inside

    def _on_book(self, symbol: str) -> None:
        """A book was gained or lost, or wants its snapshot."""
        one = self.instruments.get(symbol)
        if one is None:
            return
        book = one.book
        if book.lost_reason == "gap" and one.facts.book_lost != "gap":
            self._counters.gaps += 1
            _log.warning("gap", symbol=symbol, action="resync of this symbol")
        elif book.lost_reason == "crossed" and one.facts.book_lost != "crossed":
            _log.error("book crossed", symbol=symbol, action="resync of this symbol")
        if book.refreshing:
            _log.info("book refresh", symbol=symbol, reason=book.refresh_reason)
        elif book.synced:
            _log.info("book in step", symbol=symbol, last_id=book.last_id, syncs=book.syncs)
        one.facts.book_lost = "" if book.synced else book.lost_reason
        if book.refreshing or (book.wants_snapshot and book.buffered):
            self.wanted[symbol].set()
        self._judge(symbol)

    def _judge(self, symbol: str) -> None:
        verdict = self.verdict(symbol)
        if verdict.state == "live":
            self.instruments[symbol].facts.was_live = True
        if self._feed.board.say(symbol, verdict, now_ns()):
            _log.info("symbol", symbol=symbol, state=verdict.state, reason=verdict.reason)

    def _any_data(self, one: InstrumentFeed) -> bool:
        seen = self._watchdog.seen
        return self.facts.open and any(seen[stream] > self._opened_ns for stream in one.routes)

    def _note_stale(self) -> None:
        for one in self.instruments.values():
            silent = [name for name in one.routes if self._watchdog.is_stale(name)]
            one.facts.stale = tuple(name.partition("@")[2] for name in silent)
            if endpoints.DEPTH in one.facts.stale:
                one.book.silent()

    def _resubscribe(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Ask again for silent streams; a connection may have lost a subscription quietly."""
        stale = [name for name in self._routes if self._watchdog.is_stale(name)]
        if not stale or now_mono_ns < self._resubscribe_due_ns:
            return
        self._resubscribe_due_ns = now_mono_ns + RESUBSCRIBE_EVERY_NS
        _log.warning("silent streams", connection=session.name, streams=",".join(stale[:20]))

        async def ask_again() -> None:
            await self._send(session, link, "UNSUBSCRIBE", stale)
            await self._send(session, link, "SUBSCRIBE", stale)

        task = asyncio.ensure_future(ask_again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._replace(session, stale, now_mono_ns)

    def _replace(self, session: Session, stale: list[str], now_mono_ns: int) -> None:
        """Streams known to speak regularly that asking again did not help: a new connection.

        The rest of the connection is well, so the new one is opened beside it.
        """
        asked_ns = now_mono_ns - RESUBSCRIBE_EVERY_NS
        if len(stale) == len(self._routes) and now_mono_ns - self._opened_ns > RESUBSCRIBE_EVERY_NS:
            session.abort("silent_streams")
            return
        lost = [
            name
            for name in stale
            if self._watchdog.is_learned(name) and self._watchdog.seen[name] < asked_ns
        ]
        if lost and now_mono_ns >= self._replace_due_ns:
            self._replace_due_ns = now_mono_ns + REPLACE_EVERY_NS
            _log.warning(
                "streams stay silent", connection=session.name, streams=",".join(lost[:20])
            )
            session.rotate()

    def _look_at_times(self, session: Session, now_mono_ns: int) -> None:
        """A socket may be alive and minutes behind: look at how late its events are."""
        was_late = self.lateness.is_late
        late = self.lateness.look(now_mono_ns)
        limit_s = self._feed.settings.late_event_s
        self.facts.late = f"events come more than {limit_s:g} s late" if late else ""
        if late and not was_late:
            _log.warning("late events", connection=session.name, limit_s=limit_s)
            if now_mono_ns >= self._replace_due_ns:
                self._replace_due_ns = now_mono_ns + REPLACE_EVERY_NS
                session.rotate()

    async def _send(self, session: Session, link: Link, method: str, names: list[str]) -> None:
        messages = endpoints.control_messages(method, names, self._next_id)
        self._next_id += len(messages)
        for message in messages:
            await session.send(link, message)

    def _on_other(self, link: Link, event: Event) -> None:
        """Control replies, the shutdown notice, and what is not known here."""
        if isinstance(event, ControlReply):
            if event.code is not None:
                _log.error("request refused", code=event.code, detail=event.message, id=event.id)
        elif isinstance(event, ShutdownEvent):
            link.shutdown_announced.set()
        else:
            self._counters.unknown += 1
            name = getattr(event, "name", type(event).__name__)
            self._log_bad(monotonic_ns(), "unknown", "unknown event dropped", stream=name[:80])

    def _malformed(self, error: ParseError) -> None:
        self._counters.malformed += 1
        self._log_bad(
            monotonic_ns(),
            error.reason,
            "malformed frame dropped",
            reason=error.reason,
            detail=error.detail,
            frame=error.frame,
        )
