"""One connection to a venue and the instruments on it: what is the same for every venue.

This is the handler of a :class:`~bus.feeds.session.Session`: it subscribes, hands frames to the
venue's own code, keeps the facts that statuses are judged from, lets instruments come and go on the
open connection, and climbs the ladder of silence. It must not know what a frame means, nor how a
subscription is worded: a venue's ``connection`` module derives from one of the two kinds,
:class:`~bus.feeds.numbered_connection.NumberedConnection` (events carry numbers, a book begins with
a snapshot fetched elsewhere) or :class:`~bus.feeds.snapshot_connection.SnapshotConnection` (a book
begins with a snapshot on its own stream).

A stream's name is ``<venue symbol>@<kind>``, whatever the venue calls it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from bus.clock import monotonic_ns, now_ns
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.ladder import Ladder, Steps, StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.log_limit import LogLimit
from bus.feeds.recent import RecentIds
from bus.feeds.session import INCURABLE, Lost, Session
from bus.feeds.skew import Lateness
from bus.feeds.status import ConnectionFacts, SymbolFacts, Verdict, judge_symbol
from bus.model.trade_loss import TRADES_LOST
from bus.runtime.log import Logger

MAX_REMOVED: Final = 4_096
"""Names removed lately, whose last frames are no surprise."""
SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"


class BookOf(Protocol):
    """What a connection asks of a book; see ``depth_book`` and ``stream_book``."""

    lost_reason: str

    @property
    def synced(self) -> bool:
        """Whether the book follows the venue."""

    def start(self, reason: str) -> None:
        """The stream begins (again): the book is void until its snapshot comes."""

    def stop(self, reason: str) -> None:
        """The stream ended."""

    def tick(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Publish the whole book when the last one is old."""

    def publish_snapshot(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Publish the whole book now, if there is one."""


class InstrumentOf(Protocol):
    """What a connection asks of a venue's ``InstrumentFeed``."""

    @property
    def instrument(self) -> Listed:
        """What the venue lists it as."""

    @property
    def facts(self) -> SymbolFacts:
        """What its status is judged from."""

    @property
    def streams(self) -> Mapping[str, str]:
        """Each kind of stream to its name."""

    @property
    def book(self) -> BookOf:
        """Its book."""

    def restart(self) -> None:
        """A new connection that replaces none."""

    def describe(self, instrument: Listed, recv_ns: int) -> bool:
        """Take over what the venue says of it; whether its book must be had anew for that."""

    def lost_lately(self, now_mono_ns: int) -> str:
        """What of its trades was lost within the last minute, or ""."""


I = TypeVar("I", bound=InstrumentOf)  # noqa: E741 - an instrument


class VenueConnection(ABC, Generic[I]):
    """Handles one session. ``log`` is the venue's own logger; ``limits`` by kind of stream."""

    def __init__(
        self,
        feed: Feed,
        log: Logger,
        limits: Mapping[str, StreamLimit],
        silent_connection_s: float,
    ) -> None:
        self._feed = feed
        self._log = log
        self._counters = feed.counters
        self._log_bad = LogLimit(log.warning)
        self._session: Session | None = None
        self._opened_ns = 0
        self._removed: RecentIds[str] = RecentIds(MAX_REMOVED)
        self._tasks: set[asyncio.Task[None]] = set()
        self.lateness = Lateness(feed.skew, feed.settings.late_event_s)
        self._ladder = Ladder(limits, silent_connection_s, self.lateness)
        self._seen = self._ladder.seen
        self.facts = ConnectionFacts()
        self.instruments: dict[str, I] = {}

    # what a venue says of itself

    @abstractmethod
    def _make(self, instrument: Listed) -> I:
        """The venue's object for one instrument."""

    @abstractmethod
    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        """The texts that subscribe to streams (or unsubscribe), in as few as the venue takes."""

    @abstractmethod
    async def _succeed(self, session: Session, link: Link) -> None:
        """Subscribe on a connection that is to replace this one, and take over; see ``opened``."""

    async def _begin(self, session: Session, link: Link) -> None:
        """Say the first thing on a new connection: subscribe to everything."""
        await self._say(session, link, SUBSCRIBE, self._wanted_streams())

    def _is_served(self, one: I) -> bool:
        """Whether the instrument is to be subscribed to."""
        return not one.facts.rejected

    def _is_excused(self, one: I) -> bool:
        """Whether nothing is to be done about its silence."""
        return one.facts.market_closed or bool(one.facts.rejected)

    def _book_anew(self, one: I) -> None:
        """What the venue says of the instrument makes its book void."""

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Whatever else is due on an open connection, a few times a second."""

    @abstractmethod
    def refresh_books(self) -> None:
        """Have a whole book of each instrument from the venue, without an outage."""

    # what a session calls

    def opening(self, session: Session) -> None:
        """An attempt to connect begins."""
        self._session = session

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Void what an earlier connection left, then subscribe; or take over from it."""
        self._session = session
        if successor:
            await self._succeed(session, link)
            return
        self._opened_ns = monotonic_ns()
        self._ladder.opened(self._opened_ns)
        self.facts.open = True
        for one in self.instruments.values():
            self._restart(one, link)
        self.judge_all()
        await self._begin(session, link)

    def _restart(self, one: I, link: Link) -> None:
        """One instrument on a connection that replaces none."""
        one.restart()
        one.facts.has_data = False
        one.facts.stale = ()
        one.book.start("book_sync")

    @abstractmethod
    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """The hot path: each frame to the venue's own code; bad ones are counted and dropped."""

    def _taken(self, frames: int, market: int) -> int:
        """So many frames were handled, so many showed that the venue serves us."""
        self._counters.messages_in += frames
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
        facts.fatal = lost.reason in INCURABLE
        for one in self.instruments.values():
            one.book.stop(lost.reason)
        self.judge_all()

    # what the feed's clock calls

    def check(self, session: Session) -> None:
        """Call a few times a second: silence, lateness, books, statuses."""
        now_mono_ns, now_wall_ns = monotonic_ns(), now_ns()
        link = session.link
        if link is not None and self.facts.open:
            excused = {
                name
                for one in self.instruments.values()
                if self._is_excused(one)
                for name in one.streams.values()
            }
            steps = self._ladder.check(now_mono_ns, now_wall_ns, link.last_frame_mono_ns, excused)
            self._climb(session, link, steps)
            self._look_after(session, link, now_mono_ns)
        for one in self.instruments.values():
            one.book.tick(now_wall_ns, now_mono_ns)
        self.judge_all()

    def _climb(self, session: Session, link: Link, steps: Steps) -> None:
        if steps.changed:
            self._counters.stale += steps.went_stale
            for one in self.instruments.values():
                self._note_stale(one)
        limit_s = self._feed.settings.late_event_s
        self.facts.late = (
            f"events come more than {limit_s:g} s late" if self.lateness.is_late else ""
        )
        if steps.late_now:
            self._log.warning("late events", connection=session.name, limit_s=limit_s)
        if steps.abort:
            session.abort(steps.abort)
            return
        if steps.ask_again:
            names = ",".join(steps.ask_again[:20])
            self._log.warning("silent streams", connection=session.name, streams=names)
            self._ask_again(session, link, steps.ask_again, prompted=False)
        if steps.hopeless:
            names = ",".join(steps.hopeless[:20])
            self._log.warning("streams stay silent", connection=session.name, streams=names)
        if steps.rotate:
            session.rotate()

    def _note_stale(self, one: I) -> None:
        """Which of an instrument's streams are silent."""
        is_stale = self._ladder.is_stale
        one.facts.stale = tuple(kind for kind, name in one.streams.items() if is_stale(name))

    def _ask_again(
        self, session: Session, link: Link, streams: Sequence[str], *, prompted: bool = True
    ) -> None:
        """Have streams subscribed to afresh; ``prompted``: by what was received on them."""

        async def ask() -> None:
            await self._say(session, link, UNSUBSCRIBE, streams, again=not prompted)
            left = [name for name in streams if name in self._seen]  # not removed meanwhile
            await self._say(session, link, SUBSCRIBE, left, again=not prompted)

        self._later(ask())

    def verdict(self, symbol: str) -> Verdict:
        """The state of one instrument of this connection."""
        one = self.instruments[symbol]
        verdict = judge_symbol(self.facts, one.facts)
        if verdict.state == "live":
            lost = one.lost_lately(monotonic_ns())
            if lost:
                return Verdict("live", TRADES_LOST, lost)
        return verdict

    def judge_all(self) -> None:
        """Publish whatever state has changed."""
        for symbol in self.instruments:
            self._judge(symbol)

    def _judge(self, symbol: str) -> None:
        verdict = self.verdict(symbol)
        if verdict.state == "live":
            self.instruments[symbol].facts.was_live = True
        if self._feed.board.say(symbol, verdict, now_ns()):
            self._log.info("symbol", symbol=symbol, state=verdict.state, reason=verdict.reason)

    # instruments that come and go

    def add(self, instrument: Listed) -> list[str]:
        """Serve one more; returns its streams, to be subscribed to (``ask``)."""
        one = self._make(instrument)
        self.instruments[instrument.symbol] = one
        self._removed.discard(instrument.venue_symbol)
        one.describe(instrument, now_ns())
        self._watch(one)
        if self.facts.open:
            one.book.start("book_sync")
        return list(one.streams.values()) if self._is_served(one) else []

    def remove(self, symbol: str) -> list[str]:
        """Serve one no more; returns its streams. Frames still under way are dropped."""
        one = self.instruments.pop(symbol)
        self._removed.is_new(one.instrument.venue_symbol)
        for stream in one.streams.values():
            self._ladder.unwatch(stream)
        one.book.stop("removed")
        return list(one.streams.values()) if self._is_served(one) else []

    def list_as(self, instrument: Listed) -> list[str]:
        """The venue lists an instrument that is here already; streams to be subscribed to now."""
        one = self.instruments[instrument.symbol]
        if instrument.venue_symbol != one.instrument.venue_symbol:
            one.facts.rejected = f"the venue calls it {instrument.venue_symbol}: restart the feed"
            return []
        was_served = self._is_served(one)
        one.facts.rejected = ""
        book_anew = one.describe(instrument, now_ns())
        if was_served and book_anew:
            self._book_anew(one)
        if was_served or not self._is_served(one):
            return []
        self._watch(one)
        return list(one.streams.values())

    def refuse(self, symbol: str, why: str) -> None:
        """The venue does not list an instrument that is here already."""
        one = self.instruments[symbol]
        if why != one.facts.rejected:
            one.facts.rejected = why
            self._log.error("symbol refused", symbol=symbol, reason=why)

    async def ask(self, session: Session, method: str, streams: Sequence[str]) -> None:
        """``subscribe`` or ``unsubscribe`` on every open connection, a coming one included."""
        for link in session.links:
            await self._say(session, link, method, streams)

    def _watch(self, one: I) -> None:
        """Expect data of its streams, once they are subscribed to."""
        if self._is_served(one):
            now_mono_ns = monotonic_ns()
            for kind, stream in one.streams.items():
                if stream not in self._seen:
                    self._ladder.watch(stream, kind, now_mono_ns)

    def _wanted_streams(self) -> list[str]:
        return [
            stream
            for one in self.instruments.values()
            if self._is_served(one)
            for stream in one.streams.values()
        ]

    # inside

    async def _say(
        self,
        session: Session,
        link: Link,
        method: str,
        streams: Sequence[str],
        *,
        again: bool = False,
    ) -> None:
        for message in self._messages(method, streams) if streams else ():
            await session.send(link, message, again=again)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _unknown(self, name: str) -> None:
        """A frame of a kind, or for an instrument, that is not known here."""
        if name in self._removed:
            return
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
