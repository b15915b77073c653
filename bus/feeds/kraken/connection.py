"""The Kraken connection and the pairs on it: frames to events, events to pairs.

This is the handler of a :class:`~bus.feeds.session.Session`. First the pairs are asked for, because
a book cannot be checked without their decimals; what they are subscribed to follows from it. A book
whose checksum is wrong is subscribed to anew, that pair's alone and once; until its snapshot comes
its updates are ignored.

While a connection is being replaced two of them speak. Trades are told by id; a pair's book and
ticker go over to the new connection with the snapshot of the book that comes there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.kraken import endpoints, symbols
from bus.feeds.kraken.instrument_feed import InstrumentFeed
from bus.feeds.kraken.pair_state import PairState
from bus.feeds.kraken.parser import (
    BookEvent,
    Event,
    HeartbeatEvent,
    InstrumentEvent,
    MethodReply,
    StatusEvent,
    TickerEvent,
    TradeEvent,
    UnknownEvent,
    parse,
)
from bus.feeds.kraken.requests import Requests
from bus.feeds.link import Link
from bus.feeds.listing import Listed, choose
from bus.feeds.log_limit import LogLimit
from bus.feeds.session import Lost, Session
from bus.feeds.status import ConnectionFacts, Verdict, judge_symbol
from bus.feeds.watchdog import Watchdog
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

SNAPSHOT_WAIT_NS: Final = 10_000_000_000
"""A subscription without its snapshot for so long is made again."""
RESUBSCRIBE_EVERY_NS: Final = 60_000_000_000
"""A channel that stays silent is subscribed to afresh at most this often."""
SUCCESSOR_S: Final = 15.0


class Connection:
    """Handles one session."""

    def __init__(self, feed: Feed, wanted: Sequence[str]) -> None:
        self._feed = feed
        self._counters = feed.counters
        self._log_bad = LogLimit(_log.warning)
        self._watchdog = Watchdog(
            min(feed.settings.silent_connection_s, endpoints.SILENT_CONNECTION_S)
        )
        self._stale_after_s = {
            endpoints.TRADES: feed.settings.stale_trades_s,
            endpoints.TICKER: feed.settings.stale_quote_s,
            endpoints.BOOK: feed.settings.stale_depth_s,
        }
        self._session: Session | None = None
        self._newest: Link | None = None
        self._switched = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listing_ns = 0
        self._listed = False
        self._system = symbols.ONLINE
        self._pairs: dict[str, PairState] = {}
        self._requests = Requests(InstrumentFeed.depth_of(feed.settings))
        self.facts = ConnectionFacts()
        self.instruments: dict[str, InstrumentFeed] = {}
        for symbol in dict.fromkeys(wanted):
            guessed = symbols.guess(symbol)
            pair = guessed.venue_symbol
            one = InstrumentFeed(feed, guessed, partial(self._on_book, pair))
            self.instruments[symbol] = one
            self._pairs[pair] = PairState(one, feed.backoff)

    # what a session calls

    def opening(self, session: Session) -> None:
        """Nothing to prepare."""
        self._session = session

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Void what an earlier connection left, then ask for the pairs."""
        self._session = session
        old, self._newest = self._newest, link
        if not successor:
            now_mono_ns = monotonic_ns()
            self._watchdog.restart(now_mono_ns)
            self._listed = False
            self._listing_ns = now_mono_ns
            self.facts.open = True
            for one in self._pairs.values():
                one.link = link
                one.pace.asked_ns = now_mono_ns
                one.feed.restart()
                one.feed.book.start("book_sync")
            self.judge_all()
        await self._requests.list_pairs(session, link)
        if successor:
            await self._requests.subscribe(session, link, self._served())
            await self._take_over(link, old)

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """The hot path: parse, route, publish."""
        market = 0
        mono_ns = link.last_frame_mono_ns
        for frame in batch:
            try:
                market += self._route(link, parse(frame), recv_ns, mono_ns)
            except ParseError as error:
                self._malformed(error)
        self._counters.messages_in += len(batch)
        if market:
            self.facts.failures = 0
            self.facts.was_live = True
        return market

    def lost(self, session: Session, lost: Lost) -> None:
        """The connection is gone: every book on it is void."""
        facts = self.facts
        facts.open = False
        facts.failures = lost.attempt + 1
        facts.reason, facts.detail = lost.reason, lost.detail
        facts.fatal = lost.reason in ("unauthorized", "limited")
        for one in self._pairs.values():
            one.link = None
            one.feed.book.stop(lost.reason)
        self.judge_all()

    # what the venue's clock calls

    def check(self, session: Session) -> None:
        """Call a few times a second: silence, pings, lost books, statuses."""
        now_mono_ns = monotonic_ns()
        link = session.link
        if link is not None and self.facts.open:
            findings = self._watchdog.check(now_mono_ns, link.last_frame_mono_ns)
            if findings.silent:
                session.abort("silent")
            self._counters.stale += len(findings.went_stale)
            if self._requests.ping_due(now_mono_ns):
                self._later(self._requests.ping(session, link))
            if not self._listed and now_mono_ns - self._listing_ns >= SNAPSHOT_WAIT_NS:
                self._listing_ns = now_mono_ns
                self._later(self._requests.list_pairs(session, link, again=True))
            self._look_after(session, link, now_mono_ns)
        now_wall_ns = now_ns()
        for one in self._pairs.values():
            one.feed.book.tick(now_wall_ns, now_mono_ns)
            one.look_for_trades(now_mono_ns)
        self.judge_all()

    def verdict(self, symbol: str) -> Verdict:
        """The state of one pair of this connection."""
        one = self.instruments[symbol]
        verdict = judge_symbol(self.facts, one.facts)
        if not self.facts.open or one.facts.rejected:
            return verdict
        if self._system != symbols.ONLINE:
            return Verdict("closed", self._system, "the venue's engine matches no orders now")
        pair = self._pairs[one.instrument.venue_symbol]
        loss = pair.lost_lately(monotonic_ns())
        if verdict.state == "live" and loss:
            return Verdict("live", "trades_lost", loss)
        return verdict

    def judge_all(self) -> None:
        """Publish whatever state has changed."""
        for symbol in self.instruments:
            self._judge(symbol)

    # frames

    def _route(self, link: Link, event: Event, recv_ns: int, mono_ns: int) -> int:
        """One event to its pairs; 1 if the venue serves us."""
        seen = self._watchdog.seen
        if isinstance(event, BookEvent):
            is_snapshot = event.type == "snapshot"
            for row in event.data:
                one = self._known(row.symbol)
                if one is None:
                    continue
                if is_snapshot and link is self._newest:
                    one.link = link
                    self._note_switch()
                if link is one.link:
                    self._had_data(one, seen, endpoints.BOOK, mono_ns)
                    one.feed.on_book(row, is_snapshot, recv_ns, mono_ns)
        elif isinstance(event, TickerEvent):
            for ticker in event.data:
                one = self._known(ticker.symbol)
                if one is not None and link is one.link:
                    one.feed.on_ticker(ticker, recv_ns)
                    self._had_data(one, seen, endpoints.TICKER, mono_ns)
        elif isinstance(event, TradeEvent):
            for trade in event.data:
                one = self._known(trade.symbol)
                if one is not None:
                    one.feed.on_trade(trade, recv_ns)
                    self._had_data(one, seen, endpoints.TRADES, mono_ns)
        elif isinstance(event, InstrumentEvent):
            self._on_instruments(link, event)
        elif isinstance(event, StatusEvent):
            self._on_system(event.system)
            return 0
        elif isinstance(event, MethodReply):
            if not event.success:
                what = {"method": event.method, "symbol": event.symbol or "-"}
                _log.error("request refused", detail=event.error[:200], **what)
            return 0
        elif isinstance(event, UnknownEvent):
            self._unknown(event.name)
            return 0
        else:
            assert isinstance(event, HeartbeatEvent)
        return 1

    def _known(self, pair: str) -> PairState | None:
        one = self._pairs.get(pair)
        if one is None:
            self._unknown(pair)
        return one

    @staticmethod
    def _had_data(one: PairState, seen: dict[str, int], channel: str, mono_ns: int) -> None:
        stream = one.feed.streams[channel]
        if stream in seen:
            seen[stream] = mono_ns
        one.feed.facts.has_data = True

    def _on_instruments(self, link: Link, event: InstrumentEvent) -> None:
        """The pairs there are: refuse what is not among them, subscribe to the rest."""
        listed = symbols.listed(event.data.pairs)
        if event.type == "snapshot" and link is self._newest:
            first = not self._listed
            self._listed = True
            choice = choose(list(self.instruments), listed)
            for symbol, one in self.instruments.items():
                why = choice.rejected.get(symbol, "")
                if why and why != one.facts.rejected:
                    _log.error("symbol refused", symbol=symbol, reason=why)
                one.facts.rejected = why
                if not why:
                    self._describe(listed[symbol])
            session = self._session
            if first and session is not None:
                self._later(self._requests.subscribe(session, link, self._served()))
        elif event.type == "update":
            for symbol, described in listed.items():
                if symbol in self.instruments and self._describe(described):
                    self._pairs[described.venue_symbol].feed.book.lose("precision")
        self.judge_all()

    def _describe(self, described: Listed) -> bool:
        one = self._pairs[described.venue_symbol]
        now_mono_ns = monotonic_ns()
        for channel, stream in one.feed.streams.items():
            if stream not in self._watchdog.seen:
                self._watchdog.watch(stream, self._stale_after_s[channel], now_mono_ns)
        return one.feed.describe(described, now_ns())

    def _on_system(self, system: str) -> None:
        if system != self._system:
            _log.warning("engine", state=system)
            self._system = system
            self.judge_all()

    def _unknown(self, name: str) -> None:
        self._counters.unknown += 1
        self._log_bad(monotonic_ns(), "unknown", "unknown event dropped", name=name[:80])

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

    # subscriptions

    def _served(self) -> list[str]:
        return [pair for pair, one in self._pairs.items() if one.served]

    async def _take_over(self, link: Link, old: Link | None) -> None:
        """Wait until every book has come on the successor; raises TimeoutError, all undone."""
        self._switched.clear()
        self._note_switch()
        try:
            await asyncio.wait_for(self._switched.wait(), SUCCESSOR_S)
        except BaseException:
            self._newest = old
            for one in self._pairs.values():
                if one.link is link:
                    one.link = old
                    one.feed.book.lose("rotation")
            raise

    def _note_switch(self) -> None:
        if all(one.link is self._newest or not one.served for one in self._pairs.values()):
            self._switched.set()

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Subscribe again to what has fallen silent, is wrong or never came."""
        for pair, one in self._pairs.items():
            feed = one.feed
            stale = [kind for kind, name in feed.streams.items() if self._watchdog.is_stale(name)]
            feed.facts.stale = tuple(stale)
            if not one.served or not self._listed:
                continue
            waited = now_mono_ns - one.pace.asked_ns >= SNAPSHOT_WAIT_NS
            if feed.book.resubscribe:
                self._book_again(pair)
            elif not feed.book.synced and waited:
                self._ask_again(session, link, pair, [endpoints.BOOK])
            elif stale and now_mono_ns >= one.silent_due_ns:
                one.silent_due_ns = now_mono_ns + RESUBSCRIBE_EVERY_NS
                _log.warning("silent channels", pair=pair, channels=",".join(stale))
                if endpoints.BOOK in stale:
                    feed.book.start("silent")
                self._ask_again(session, link, pair, stale)

    def _book_again(self, pair: str) -> None:
        """Have a lost book sent anew, at once the first time, then with growing pauses."""
        one = self._pairs[pair]
        session = self._session
        if session is None or one.link is None:
            return
        if one.pace.may_ask(monotonic_ns(), random.random()):
            one.feed.book.start(one.feed.book.lost_reason)
            self._ask_again(session, one.link, pair, [endpoints.BOOK])

    def _ask_again(self, session: Session, link: Link, pair: str, channels: Sequence[str]) -> None:
        self._pairs[pair].pace.asked_ns = monotonic_ns()
        self._later(self._requests.again(session, link, pair, channels))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # states

    def _on_book(self, pair: str) -> None:
        """A book was gained or lost."""
        one = self._pairs.get(pair)
        if one is None:
            return
        book, facts = one.feed.book, one.feed.facts
        if book.synced:
            _log.info("book in step", pair=pair, syncs=book.syncs)
        elif book.resubscribe:
            self._counters.gaps += 1
            _log.warning("book lost", pair=pair, reason=book.lost_reason)
        facts.book_lost = "" if book.synced else book.lost_reason
        if book.resubscribe:
            self._book_again(pair)
        self._judge(one.feed.instrument.symbol)

    def _judge(self, symbol: str) -> None:
        verdict = self.verdict(symbol)
        if verdict.state == "live":
            self.instruments[symbol].facts.was_live = True
        if self._feed.board.say(symbol, verdict, now_ns()):
            _log.info("symbol", symbol=symbol, state=verdict.state, reason=verdict.reason)
