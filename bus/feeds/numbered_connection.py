"""A connection to a venue whose events carry numbers, and whose books are fetched apart.

A book joins its snapshot by the numbers; ``wanted`` of a symbol is set while its book wants one,
for whoever fetches it. While a connection is being replaced two of them bring the same events, each
at its own pace; the numbers tell what is a repeat and what has to wait (see ``handover``).
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from bus.clock import monotonic_ns
from bus.feeds.depth_book import DepthBook
from bus.feeds.errors import ParseError, RotationFailed
from bus.feeds.feed import Feed
from bus.feeds.handover import Handover, Held, Order
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.session import Session
from bus.feeds.venue_connection import SUBSCRIBE, InstrumentOf, VenueConnection
from bus.runtime.log import Logger

FOR_CAPTURE: Final = "capture"
"""Why a book is refreshed when a capture has begun a new file."""
HANDOVER_LOOK_S: Final = 0.05
QUIET_BOOK_NS: Final = 2_000_000_000
"""A book whose stream is quiet for so long gets its snapshot without waiting for a first diff."""


class NumberedInstrument(InstrumentOf, Protocol):
    """An instrument whose book is a :class:`~bus.feeds.depth_book.DepthBook`."""

    @property
    def routes(self) -> Mapping[str, Callable[..., None]]:
        """Stream name to what takes its events."""

    @property
    def orders(self) -> Sequence[tuple[str, Order | None]]:
        """How the events of each stream follow one another, for a handover."""

    @property
    def book(self) -> DepthBook[Any]:
        """Its book."""


I = TypeVar("I", bound=NumberedInstrument)  # noqa: E741 - an instrument


class NumberedConnection(VenueConnection[I]):
    """``book_kind`` names the kind of stream that brings book changes; ``read`` makes of a frame
    its stream's name and its event, and raises ParseError.
    """

    book_kind: str

    def __init__(
        self,
        feed: Feed,
        log: Logger,
        limits: Mapping[str, StreamLimit],
        silent_connection_s: float,
        read: Callable[[bytes], tuple[str, Any]],
    ) -> None:
        super().__init__(feed, log, limits, silent_connection_s)
        self._read = read
        self._handover: Handover | None = None
        self._successor: Link | None = None
        self._routes: dict[str, Callable[..., None]] = {}
        self.wanted: dict[str, asyncio.Event] = {}

    # events

    @abstractmethod
    def _on_other(self, link: Link, stream: str, event: Any) -> None:
        """An event of no stream of ours: an answer, a notice, or something unknown."""

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """See :meth:`VenueConnection.frames`. Nothing is called here that need not be."""
        read, routes, seen = self._read, self._routes, self._seen
        handover = self._handover  # set and cleared between batches only
        mono_ns = link.last_frame_mono_ns
        market = 0
        for frame in batch:
            try:
                stream, event = read(frame)
            except ParseError as error:
                self._malformed(error)
                continue
            route = routes.get(stream)
            if route is None:
                self._on_other(link, stream, event)
                continue
            if handover is None:
                route(event, recv_ns)
            elif link is self._successor:
                self._publish(stream, handover.from_new(stream, event, recv_ns))
            else:
                route(event, recv_ns)
                self._publish(stream, handover.after_old(stream, mono_ns))
            seen[stream] = mono_ns
            market += 1
        return self._taken(len(batch), market)

    def _publish(self, stream: str, held: list[Held]) -> None:
        route = self._routes.get(stream)
        if route is not None:
            for event, recv_ns in held:
                route(event, recv_ns)

    # connections

    async def _succeed(self, session: Session, link: Link) -> None:
        """Hold back what is ahead of the old connection, until every stream is handed over."""
        orders = {name: order for one in self.instruments.values() for name, order in one.orders}
        self._handover, self._successor = Handover(orders, monotonic_ns()), link
        try:
            await self._say(session, link, SUBSCRIBE, self._wanted_streams())
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

    def _note_data(self, one: I) -> None:
        """Whether anything has come for it: looked for here, as noting it costs each frame."""
        if not one.facts.has_data and self.facts.open:
            one.facts.has_data = any(map(self._ladder.has_spoken, one.streams.values()))

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Books of quiet streams are wanted without a first change."""
        for one in self.instruments.values():
            self._note_data(one)
        if now_mono_ns - self._opened_ns > QUIET_BOOK_NS:
            for symbol, one in self.instruments.items():
                if one.book.wants_snapshot:
                    self.wanted[symbol].set()

    # instruments

    def add(self, instrument: Listed) -> list[str]:
        """See :meth:`VenueConnection.add`."""
        self.wanted[instrument.symbol] = asyncio.Event()
        streams = super().add(instrument)
        self._routes.update(self.instruments[instrument.symbol].routes)
        return streams

    def remove(self, symbol: str) -> list[str]:
        """See :meth:`VenueConnection.remove`."""
        for stream in self.instruments[symbol].routes:
            del self._routes[stream]
        streams = super().remove(symbol)
        del self.wanted[symbol]
        return streams

    # books

    def refresh_books(self) -> None:
        """Take over a newer snapshot of every book."""
        for one in self.instruments.values():
            one.book.refresh(FOR_CAPTURE)

    def snapshot_failed(self, symbol: str, kind: str) -> None:
        """The snapshot of a book could not be had: say so, unless it is in step anyway."""
        one = self.instruments.get(symbol)
        if one is not None and not one.book.synced:
            one.book.lost_reason = f"snapshot_{kind}"
            self._on_book(symbol)

    def _note_stale(self, one: I) -> None:
        super()._note_stale(one)
        if self.book_kind in one.facts.stale:
            one.book.silent()

    def _on_book(self, symbol: str) -> None:
        """A book was gained or lost, or wants its snapshot."""
        one = self.instruments.get(symbol)
        if one is None:
            return
        book = one.book
        if book.lost_reason == "gap" and one.facts.book_lost != "gap":
            self._counters.gaps += 1
            self._log.warning("gap", symbol=symbol, action="resync of this symbol")
        elif book.lost_reason == "crossed" and one.facts.book_lost != "crossed":
            self._log.error("book crossed", symbol=symbol, action="resync of this symbol")
        if book.refreshing:
            self._log.info("book refresh", symbol=symbol, reason=book.refresh_reason)
        elif book.synced:
            self._log.info("book in step", symbol=symbol, last_id=book.last_id, syncs=book.syncs)
        one.facts.book_lost = "" if book.synced else book.lost_reason
        self._note_data(one)
        if book.refreshing or (book.wants_snapshot and book.buffered):
            self.wanted[symbol].set()
        self._judge(symbol)
