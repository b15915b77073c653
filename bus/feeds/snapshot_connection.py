"""A connection to a venue whose books begin with a snapshot on their own stream.

Nothing there is numbered, so a book is trusted until its venue's own check fails (crossed, a wrong
checksum, a missing heartbeat); then that book alone is subscribed to anew, at once the first time,
with growing pauses after that. A book that is asked for again only because its stream is quiet, or
because a capture wants it whole, is served as it is until its new snapshot takes its place.

While a connection is being replaced two of them speak. Trades are told by id; an instrument's book,
and whatever else is not numbered, goes over to the new connection with the snapshot of the book
that comes there.
"""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from bus.clock import monotonic_ns
from bus.feeds.backoff import Backoff
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.pace import Pace
from bus.feeds.session import Lost, Session
from bus.feeds.stream_book import StreamBook
from bus.feeds.venue_connection import SUBSCRIBE, InstrumentOf, VenueConnection
from bus.runtime.log import Logger

SNAPSHOT_WAIT_NS: Final = 10_000_000_000
"""A subscription without its snapshot for so long is made again."""
SUCCESSOR_S: Final = 15.0
"""Every book must have come on a new connection within this time."""


class StreamedInstrument(InstrumentOf, Protocol):
    """An instrument whose book is a :class:`~bus.feeds.stream_book.StreamBook`."""

    @property
    def book(self) -> StreamBook[Any]:
        """Its book."""


I = TypeVar("I", bound=StreamedInstrument)  # noqa: E741 - an instrument


class Followed:
    """What a connection remembers of one instrument: ``link`` is whose book counts."""

    __slots__ = ("asked_ns", "link", "pace")

    def __init__(self, backoff: Backoff, link: Link | None) -> None:
        self.pace = Pace(backoff)
        self.link = link
        self.asked_ns = monotonic_ns()


class SnapshotConnection(VenueConnection[I]):
    """``book_kind`` names the kind of stream that brings books."""

    book_kind: str

    def __init__(
        self,
        feed: Feed,
        log: Logger,
        limits: Mapping[str, StreamLimit],
        silent_connection_s: float,
    ) -> None:
        super().__init__(feed, log, limits, silent_connection_s)
        self._newest: Link | None = None
        self._switched = asyncio.Event()
        self._by_name: dict[str, tuple[I, Followed]] = {}
        """By the venue's name: the hot path's way in."""

    # events

    @abstractmethod
    def _take(self, link: Link, frame: bytes, recv_ns: int, mono_ns: int) -> int:
        """One frame; 1 if it shows that the venue serves us. Raises ParseError."""

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """See :meth:`VenueConnection.frames`."""
        market = 0
        mono_ns = link.last_frame_mono_ns
        take = self._take
        for frame in batch:
            try:
                market += take(link, frame, recv_ns, mono_ns)
            except ParseError as error:
                self._malformed(error)
        return self._taken(len(batch), market)

    # instruments

    def add(self, instrument: Listed) -> list[str]:
        """See :meth:`VenueConnection.add`."""
        link = self._session.link if self._session is not None and self.facts.open else None
        followed = Followed(self._feed.backoff, link)
        streams = super().add(instrument)
        one = self.instruments[instrument.symbol]
        self._by_name[instrument.venue_symbol] = (one, followed)
        if self.facts.open:
            self._on_book(one, followed)
        return streams

    def remove(self, symbol: str) -> list[str]:
        """See :meth:`VenueConnection.remove`."""
        self._by_name.pop(self.instruments[symbol].instrument.venue_symbol)
        streams = super().remove(symbol)
        self._note_switch()
        return streams

    def _kinds_again(self, reason: str) -> Sequence[str]:
        """What to ask for when a book was lost for ``reason`` ("" = its snapshot never came)."""
        return (self.book_kind,)

    # connections

    def _restart(self, one: I, link: Link) -> None:
        followed = self._by_name[one.instrument.venue_symbol][1]
        followed.link = link
        followed.asked_ns = monotonic_ns()
        super()._restart(one, link)

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """See :meth:`VenueConnection.opened`."""
        if not successor:
            self._newest = link
        await super().opened(session, link, successor)

    def lost(self, session: Session, lost: Lost) -> None:
        """See :meth:`VenueConnection.lost`."""
        for _, followed in self._by_name.values():
            followed.link = None
        super().lost(session, lost)

    async def _succeed(self, session: Session, link: Link) -> None:
        """Wait until every book has come on the successor; raises TimeoutError, all undone."""
        old, self._newest = self._newest, link
        await self._begin_succession(session, link)
        self._switched.clear()
        self._note_switch()
        try:
            await asyncio.wait_for(self._switched.wait(), SUCCESSOR_S)
        except BaseException:
            self._newest = old
            for one, followed in self._by_name.values():
                if followed.link is link:
                    followed.link = old
                    one.book.lose("rotation")
            raise

    async def _begin_succession(self, session: Session, link: Link) -> None:
        """Subscribe to everything on a connection that is to replace this one."""
        await self._say(session, link, SUBSCRIBE, self._wanted_streams())

    def _takes_book(self, followed: Followed, link: Link, is_snapshot: bool) -> bool:
        """Whether a book's event of this connection counts; a snapshot may bring it over."""
        if is_snapshot and link is self._newest and followed.link is not link:
            followed.link = link
            self._note_switch()
        return link is followed.link

    def _note_switch(self) -> None:
        newest = self._newest
        if all(
            followed.link is newest or not self._is_served(one)
            for one, followed in self._by_name.values()
        ):
            self._switched.set()

    # books

    def refresh_books(self) -> None:
        """Ask for every book again; each is served until its new snapshot comes."""
        session, link = self._session, self._newest
        if session is None or link is None or not self.facts.open:
            return
        streams = [
            one.streams[self.book_kind]
            for one, followed in self._by_name.values()
            if one.book.synced and followed.link is link
        ]
        if streams:
            self._ask_again(session, link, streams, prompted=False)

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Have lost books sent anew, and, all together, those whose snapshot never came."""
        kinds, missing = self._kinds_again(""), list[str]()
        for one, followed in self._by_name.values():
            if not self._is_served(one) or one.book.synced:
                continue
            if one.book.resubscribe:
                self._book_again(one, followed)
            elif now_mono_ns - followed.asked_ns >= SNAPSHOT_WAIT_NS:
                followed.asked_ns = now_mono_ns
                missing += [one.streams[kind] for kind in kinds]
        if missing:
            self._ask_again(session, link, missing, prompted=False)

    def _book_anew(self, one: I) -> None:
        one.book.lose("precision")

    def _book_again(self, one: I, followed: Followed) -> None:
        """Have a lost book sent anew, at once the first time, then with growing pauses."""
        session, now_mono_ns = self._session, monotonic_ns()
        if session is None or followed.link is None:
            return
        if followed.pace.may_ask(now_mono_ns, random.random()):
            reason = one.book.lost_reason
            followed.asked_ns = now_mono_ns
            one.book.start(reason)
            streams = [one.streams[kind] for kind in self._kinds_again(reason)]
            self._ask_again(session, followed.link, streams)

    def _book_watcher(self, venue_symbol: str) -> Callable[[], None]:
        """What a book is given to call when it was gained or lost."""

        def on_book() -> None:
            found = self._by_name.get(venue_symbol)
            if found is not None:
                self._on_book(*found)

        return on_book

    def _on_book(self, one: I, followed: Followed) -> None:
        book, facts, symbol = one.book, one.facts, one.instrument.symbol
        if book.synced and facts.book_lost:
            self._log.info("book in step", symbol=symbol, syncs=book.syncs)
        elif book.resubscribe:
            self._counters.gaps += 1
            self._log.warning("book lost", symbol=symbol, reason=book.lost_reason)
        facts.book_lost = "" if book.synced else book.lost_reason
        if book.resubscribe:
            self._book_again(one, followed)
        if symbol in self.instruments:
            self._judge(symbol)
