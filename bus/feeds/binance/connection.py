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
from bus.feeds.binance.symbols import Instrument
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.link import Link
from bus.feeds.log_limit import LogLimit
from bus.feeds.session import Lost, Session
from bus.feeds.status import ConnectionFacts, Verdict, judge_symbol
from bus.feeds.watchdog import Watchdog
from bus.runtime import get_logger

_log = get_logger("feeds.binance")

RESUBSCRIBE_EVERY_NS: Final = 60_000_000_000
"""A stream that stays silent is subscribed to afresh at most this often."""
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
        self._opened_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[str, Callable[..., None]] = {}
        self._owner: dict[str, InstrumentFeed] = {}
        self.facts = ConnectionFacts()
        self.instruments: dict[str, InstrumentFeed] = {}
        self.wanted: dict[str, asyncio.Event] = {}
        for instrument in instruments:
            self._add(instrument)

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
                self._on_other(link, event)
                continue
            route(event, recv_ns)
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
        one.facts.market_closed = instrument.status != "TRADING"
        if instrument.venue_symbol != one.instrument.venue_symbol:
            one.facts.rejected = f"the venue calls it {instrument.venue_symbol}: restart the feed"

    def snapshot_failed(self, symbol: str, kind: str) -> None:
        """A REST call for a book brought nothing: say so, unless the book is in step anyway."""
        book = self.instruments[symbol].book
        if not book.synced:
            book.lost_reason = f"snapshot_{kind}"
            self._on_book(symbol)

    # inside

    def _add(self, instrument: Instrument) -> None:
        symbol = instrument.symbol
        one = InstrumentFeed(self._feed, instrument, lambda: self._on_book(symbol))
        self.instruments[symbol] = one
        self.wanted[symbol] = asyncio.Event()
        now_mono_ns = monotonic_ns()
        for stream, route in one.routes.items():
            self._routes[stream] = route
            self._owner[stream] = one
            kind = stream.partition("@")[2]
            self._watchdog.watch(stream, self._stale_after_s[kind], now_mono_ns)

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
            _log.info("book differs from the venue's top", symbol=symbol, action="refresh")
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
