"""The one Finnhub connection: frames to events, events to instruments and the news desk.

This is the handler of a :class:`~bus.feeds.session.Session`. The venue numbers nothing, so a gap
cannot be told; it has been seen to send a whole frame again, and that can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.finnhub import endpoints
from bus.feeds.finnhub.instrument_feed import InstrumentFeed
from bus.feeds.finnhub.news import NewsDesk
from bus.feeds.finnhub.parser import ErrorEvent, NewsFrame, Ping, TradeFrame, parse
from bus.feeds.finnhub.symbols import Instrument
from bus.feeds.link import Link
from bus.feeds.log_limit import LogLimit
from bus.feeds.recent import RecentIds
from bus.feeds.session import INCURABLE, Lost, Session
from bus.feeds.skew import Lateness
from bus.feeds.status import ConnectionFacts, Verdict, judge_symbol
from bus.feeds.watchdog import Watchdog
from bus.runtime import get_logger

_log = get_logger("feeds.finnhub")

FRAMES_REMEMBERED: Final = 256
LEARNED_FLOOR_S: Final = 30.0
REPLACE_EVERY_NS: Final = 600_000_000_000
"""A connection is given up for late events at most this often."""
SUBSCRIPTION_LIMIT: Final = "subscription_limit"
COMPLAINT_SHOWN_NS: Final = 60_000_000_000
UNAUTHORIZED: Final = (
    "Finnhub refused the API key (HTTP 401): check FINNHUB_API_KEY or the feed's api_key_file"
)


class Connection:
    """Handles the session. ``desk`` takes the news, whichever way it comes."""

    def __init__(self, feed: Feed, instruments: Sequence[Instrument], desk: NewsDesk) -> None:
        self._feed = feed
        self._desk = desk
        self._counters = feed.counters
        self._log_bad = LogLimit(_log.warning)
        self._watchdog = Watchdog(feed.settings.silent_connection_s)
        self.lateness = Lateness(feed.skew, feed.settings.late_event_s)
        self._sent: list[str] = []
        self._replace_due_ns = 0
        self._frames_seen: RecentIds[bytes] = RecentIds(FRAMES_REMEMBERED)
        self._removed: RecentIds[str] = RecentIds(1_024)
        self._closed: bool | None = None
        self._complaint = ""
        self._complaint_ns = 0
        self.facts = ConnectionFacts()
        self.instruments: dict[str, InstrumentFeed] = {}
        self._by_venue_symbol: dict[str, InstrumentFeed] = {}
        for instrument in instruments:
            self.add(instrument)

    # what a session calls

    def opening(self, session: Session) -> None:
        """Nothing to prepare."""

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Subscribe, one symbol a message, prices before news."""
        self._watchdog.restart(monotonic_ns())
        self._frames_seen.clear()
        self._sent.clear()
        self.facts.open = True
        for one in self.instruments.values():
            one.facts.has_data = False
            one.facts.stale = ()
            if one.facts.reject_reason == SUBSCRIPTION_LIMIT:
                one.facts.rejected, one.facts.reject_reason = "", "unknown_symbol"
        self.judge_all()
        await self.subscribe(session, link, list(self.instruments.values()))

    async def subscribe(
        self, session: Session, link: Link, instruments: Sequence[InstrumentFeed]
    ) -> None:
        """Prices first, then news; one symbol a message."""
        wanted = [one for one in instruments if not one.facts.rejected]
        for one in wanted:
            venue_symbol = one.instrument.venue_symbol
            self._sent.append(venue_symbol)
            await session.send(link, endpoints.subscribe(venue_symbol))
        for one in wanted:
            if one.instrument.stock and self._feed.settings.news_stream:
                await session.send(link, endpoints.subscribe_news(one.instrument.venue_symbol))

    def add(self, instrument: Instrument) -> InstrumentFeed:
        """Serve one more; it is not subscribed to yet."""
        one = InstrumentFeed(self._feed, instrument, self.lateness.delays)
        self.instruments[instrument.symbol] = one
        self._by_venue_symbol[instrument.venue_symbol] = one
        self._removed.discard(instrument.venue_symbol)
        stale_after_s = self._feed.settings.stale_trades_s
        floor_s = 0.0 if instrument.stock else LEARNED_FLOOR_S  # a stock's hours change its rhythm
        self._watchdog.watch(
            instrument.venue_symbol, stale_after_s, monotonic_ns(), floor_s=floor_s
        )
        return one

    def remove(self, symbol: str) -> list[str]:
        """Serve one no more; the messages that end its subscriptions."""
        one = self.instruments.pop(symbol)
        venue_symbol = one.instrument.venue_symbol
        del self._by_venue_symbol[venue_symbol]
        self._watchdog.unwatch(venue_symbol)
        self._removed.is_new(venue_symbol)
        if venue_symbol in self._sent:
            self._sent.remove(venue_symbol)
        messages = [endpoints.unsubscribe(venue_symbol)]
        if one.instrument.stock and self._feed.settings.news_stream:
            messages.append(endpoints.unsubscribe_news(venue_symbol))
        return messages

    @property
    def is_full(self) -> bool:
        """Whether the venue has refused a subscription as one too many."""
        return any(
            one.facts.reject_reason == SUBSCRIPTION_LIMIT for one in self.instruments.values()
        )

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """The hot path: parse, route, publish. A ping counts as data: the venue serves us."""
        market = 0
        for frame in batch:
            try:
                event = parse(frame)
            except ParseError as error:
                self._malformed(error)
                continue
            if isinstance(event, TradeFrame):
                market += 1
                if self._frames_seen.is_new(frame):
                    self._trades(event, recv_ns, link.last_frame_mono_ns)
                else:
                    self._counters.duplicates += 1
            elif isinstance(event, NewsFrame):
                market += 1
                self._news(event, recv_ns)
            elif isinstance(event, Ping):
                market += 1
            elif isinstance(event, ErrorEvent):
                self._complained(event)
            else:
                self._counters.unknown += 1
                now = monotonic_ns()
                self._log_bad(now, "unknown", "unknown event dropped", type=event.name[:80])
        self._counters.messages_in += len(batch)
        if market:
            self.facts.failures = 0
            self.facts.was_live = True
        return market

    def lost(self, session: Session, lost: Lost) -> None:
        """The connection is gone, or was refused."""
        facts = self.facts
        facts.open = False
        facts.failures = lost.attempt + 1
        facts.reason, facts.detail = lost.reason, lost.detail
        facts.fatal = lost.reason in INCURABLE
        if lost.reason == "unauthorized":
            facts.detail = UNAUTHORIZED
            _log.error("unauthorized", detail=UNAUTHORIZED, retry_in_s=lost.retry_in_s)
        self.judge_all()

    # what the venue's clock calls

    def check(self, session: Session) -> None:
        """Call a few times a second: silence and statuses."""
        now_mono_ns = monotonic_ns()
        link = session.link
        if link is not None:
            findings = self._watchdog.check(now_mono_ns, link.last_frame_mono_ns)
            if findings.silent:
                session.abort("silent")
            self._look_at_times(session, now_mono_ns)
            self._counters.stale += len(findings.went_stale)
            for venue_symbol, one in self._by_venue_symbol.items():
                one.facts.stale = ("trades",) if self._watchdog.is_stale(venue_symbol) else ()
                one.facts.has_data = one.facts.has_data or self._watchdog.has_spoken(venue_symbol)
        self.judge_all()

    def verdict(self, symbol: str) -> Verdict:
        """The state of one instrument."""
        return judge_symbol(self.facts, self.instruments[symbol].facts)

    def complaint(self) -> str:
        """What the venue complained of within the last minute, or ""."""
        recent = monotonic_ns() - self._complaint_ns < COMPLAINT_SHOWN_NS
        return self._complaint if recent else ""

    def market_changed(self) -> None:
        """Say for an instrument just added what is known of its market."""
        if self._closed is not None:
            self.market_closed(self._closed)

    def market_closed(self, closed: bool) -> None:
        """What the calendar says for the stocks."""
        self._closed = closed
        for one in self.instruments.values():
            if one.instrument.stock:
                one.facts.market_closed = closed
                one.market = "closed" if closed else "trading"
                one.describe(None, now_ns())

    def judge_all(self) -> None:
        """Publish whatever state has changed."""
        for symbol, one in self.instruments.items():
            verdict = self.verdict(symbol)
            if verdict.state == "live":
                one.facts.was_live = True
            if self._feed.board.say(symbol, verdict, now_ns()):
                _log.info("symbol", symbol=symbol, state=verdict.state, reason=verdict.reason)

    # inside

    def _trades(self, event: TradeFrame, recv_ns: int, mono_ns: int) -> None:
        seen = self._watchdog.seen
        for item in event.items:
            one = self._by_venue_symbol.get(item.venue_symbol)
            if one is None:
                self._counters.unknown += item.venue_symbol not in self._removed
                continue
            seen[item.venue_symbol] = mono_ns
            one.on_trade(item, recv_ns)
        if event.unreadable:
            self._counters.malformed += event.unreadable
            now = monotonic_ns()
            self._log_bad(now, "items", "unreadable trades dropped", count=event.unreadable)

    def _news(self, event: NewsFrame, recv_ns: int) -> None:
        self._counters.malformed += event.unreadable
        offered = self._feed.settings.news_categories
        for item in event.items:
            category = item.category if item.category in offered else endpoints.COMPANY
            self._desk.publish(category, [item], recv_ns)

    def _complained(self, event: ErrorEvent) -> None:
        self._complaint = event.message
        self._complaint_ns = monotonic_ns()
        _log.error("the venue complains", message=event.message)
        if endpoints.TOO_MANY_SYMBOLS in event.message.lower():
            self._one_too_many(event.message)

    def _one_too_many(self, message: str) -> None:
        """The venue names no symbol: it is the last one asked for that has brought nothing."""
        for venue_symbol in reversed(self._sent):
            one = self._by_venue_symbol.get(venue_symbol)
            if one is not None and not one.facts.has_data and not one.facts.rejected:
                one.facts.rejected = f"the venue takes no more symbols with this key: {message}"
                one.facts.reject_reason = SUBSCRIPTION_LIMIT
                self.judge_all()
                return

    def _look_at_times(self, session: Session, now_mono_ns: int) -> None:
        """A socket may be alive and minutes behind."""
        late = self.lateness.look(now_mono_ns, now_ns())
        limit_s = self._feed.settings.late_event_s
        self.facts.late = f"events come more than {limit_s:g} s late" if late else ""
        if late and now_mono_ns >= self._replace_due_ns:
            self._replace_due_ns = now_mono_ns + REPLACE_EVERY_NS
            session.abort("late")  # one connection a key: there cannot be a second beside it

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
