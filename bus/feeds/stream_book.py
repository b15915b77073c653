"""One instrument's book on a stream that begins with its snapshot: levels, `depth`, `orderbook`.

What :class:`~bus.feeds.depth_book.DepthBook` is for numbered diffs with a REST snapshot, this is
for venues without numbers (see :mod:`bus.book.snapshot_stream`). Published are: on every snapshot
of the venue the whole book (`depth`, ``is_snapshot``), after it every update as a delta; after each
of them the best N levels (`orderbook`). A whole book is published again when the last one is old,
counted in deltas or in seconds, or when the broker came back.

``venue_seq`` of `orderbook` and ``first_venue_seq`` = ``last_venue_seq`` of `depth` are a **count
kept here**: one more for every snapshot and every update, so that the rule for consumers holds as
it does for numbered venues (a delta applies at ``local + 1``). A whole book published again has the
number it stands at.

A book found wrong (crossed, wrong checksum) is void: it is not published, ``resubscribe`` is set
once, and updates are ignored until the next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bus.book.order_book import Level
from bus.book.snapshot_stream import (
    FollowedBook,
    SnapshotStream,
    StreamAction,
    StreamState,
)
from bus.client import Publisher
from bus.feeds.depth_book import BookLimits
from bus.model import Depth, Quote
from bus.model import OrderBook as OrderBookTick
from bus.model.topic import Topic

L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class StreamBookStats:
    """Counters of one book.

    ``syncs``: snapshots taken (1 = never lost); ``faults``: times found wrong; ``crossed`` and
    ``checksum_failed``: how many of them for that reason; ``ignored``: updates without a book;
    ``trimmed_levels``: levels forgotten at the bound.
    """

    syncs: int
    faults: int
    crossed: int
    checksum_failed: int
    ignored: int
    trimmed_levels: int


class StreamBook(Generic[L]):
    """Keeps and publishes one book. Not thread-safe; synchronous.

    ``on_change`` is called after each gain or loss of the book: look at ``synced``,
    ``lost_reason`` and ``resubscribe`` (which the caller clears when it has done so). ``on_top``,
    where the book is to be the source of quotes too, is given the best bid and ask whenever either
    has changed, with the book's own position, the venue's time and ours (ns).
    """

    def __init__(
        self,
        publisher: Publisher,
        venue_label: str,
        symbol: str,
        limits: BookLimits,
        book: FollowedBook[L],
        on_change: Callable[[], None],
        on_top: Callable[[Quote, int | None, int], None] | None = None,
    ) -> None:
        self._limits = limits
        self._book = book
        self._on_change = on_change
        self._on_top = on_top
        self._best: tuple[list[Level], list[Level]] | None = None
        self._depth = publisher.writer(Topic.md("depth", venue_label, symbol))
        self._orderbook = publisher.writer(Topic.md("orderbook", venue_label, symbol))
        self._stream = SnapshotStream()
        self._deltas = 0
        self._whole_due_ns = 0
        self._venue_ts_ns: int | None = None
        self.lost_reason = "starting"
        self.resubscribe = False
        self.syncs = 0
        self.faults = 0
        self.crossed = 0
        self.checksum_failed = 0

    @property
    def synced(self) -> bool:
        """Whether the book follows the venue."""
        return self._stream.state is StreamState.FOLLOWING

    @property
    def position(self) -> int:
        """Snapshots and updates so far."""
        return self._stream.position

    @property
    def book(self) -> FollowedBook[L]:
        """The levels; meaningful while ``synced``."""
        return self._book

    def use(self, book: FollowedBook[L]) -> None:
        """Keep the levels in another book from now on; the present one is void (call `start`)."""
        self._book = book

    def start(self, reason: str) -> None:
        """A subscription is being made: void the book, wait for a snapshot."""
        self.lost_reason = reason
        self.resubscribe = False
        self._stream.start()
        self._on_change()

    def stop(self, reason: str) -> None:
        """The stream ended: the book is void."""
        self.lost_reason = reason
        self.resubscribe = False
        self._stream.stop()
        self._on_change()

    def lose(self, reason: str) -> None:
        """The book cannot be trusted: have it subscribed to again, once."""
        if self._stream.lost() is StreamAction.RESUBSCRIBE:
            self.lost_reason = reason
            self.resubscribe = True
            self._on_change()

    def on_snapshot(
        self,
        bids: Sequence[L],
        asks: Sequence[L],
        checksum: int | None,
        venue_ts_ns: int | None,
        recv_ns: int,
        now_mono_ns: int,
    ) -> None:
        """The venue's snapshot. ``recv_ns`` is wall-clock ns, ``now_mono_ns`` monotonic."""
        if self._stream.on_snapshot() is not StreamAction.LOAD:
            return
        change = self._book.load(bids, asks, checksum)
        if change.fault:
            self._wrong(change.fault)
            return
        self.syncs += 1
        self.lost_reason = ""
        self.resubscribe = False
        self._venue_ts_ns = venue_ts_ns
        self._best = None  # a quote again, though it be the same: it is fresh
        self._publish_whole(recv_ns, now_mono_ns)
        self._publish_top(recv_ns)
        self._on_change()

    def on_update(
        self,
        bids: Sequence[L],
        asks: Sequence[L],
        checksum: int | None,
        venue_ts_ns: int | None,
        recv_ns: int,
    ) -> None:
        """One update, in arrival order; ignored while there is no book."""
        if self._stream.on_update() is not StreamAction.APPLY:
            return
        change = self._book.apply(bids, asks, checksum)
        if change.fault:
            self._wrong(change.fault)
            return
        self._venue_ts_ns = venue_ts_ns
        position = self._stream.position
        self._depth.publish(
            Depth(position, position, _listed(change.bids), _listed(change.asks), False),
            venue_ts_ns=venue_ts_ns,
            recv_ts_ns=recv_ns,
        )
        self._deltas += 1
        self._publish_top(recv_ns)
        if self._deltas >= self._limits.depth_snapshot_deltas:
            self._publish_whole(recv_ns, None)

    def tick(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Call about once a second: publishes the whole book when the last one is old."""
        if self.synced and now_mono_ns >= self._whole_due_ns:
            self._publish_whole(now_wall_ns, now_mono_ns)

    def publish_snapshot(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Publish the whole book now, if there is one: the broker may have lost it."""
        if self.synced:
            self._publish_whole(now_wall_ns, now_mono_ns)

    def stats(self) -> StreamBookStats:
        """The counters, as one frozen value."""
        return StreamBookStats(
            self.syncs,
            self.faults,
            self.crossed,
            self.checksum_failed,
            self._stream.ignored,
            self._book.trimmed_levels,
        )

    def _wrong(self, fault: str) -> None:
        self.faults += 1
        self.crossed += fault == "crossed"
        self.checksum_failed += fault == "checksum"
        self.lose(fault)

    def _publish_top(self, recv_ns: int) -> None:
        bids, asks = self._book.top(self._limits.orderbook_levels)
        self._orderbook.publish(
            OrderBookTick(self._stream.position, bids, asks),
            venue_ts_ns=self._venue_ts_ns,
            recv_ts_ns=recv_ns,
        )
        if self._on_top is not None:
            self._quote(bids[:1], asks[:1], recv_ns)

    def _quote(self, bid: list[Level], ask: list[Level], recv_ns: int) -> None:
        best = (bid, ask)
        if best == self._best or self._on_top is None:
            return
        self._best = best
        bid_price, bid_size = bid[0] if bid else (None, None)
        ask_price, ask_size = ask[0] if ask else (None, None)
        quote = Quote(bid_price, bid_size, ask_price, ask_size, self._stream.position)
        self._on_top(quote, self._venue_ts_ns, recv_ns)

    def _publish_whole(self, recv_ns: int, now_mono_ns: int | None) -> None:
        bids, asks = self._book.levels()
        position = self._stream.position
        self._depth.publish(
            Depth(position, position, bids, asks, True),
            venue_ts_ns=self._venue_ts_ns,
            recv_ts_ns=recv_ns,
        )
        self._deltas = 0
        if now_mono_ns is not None:
            self._whole_due_ns = now_mono_ns + int(self._limits.depth_snapshot_s * 1e9)


def _listed(levels: Sequence[Level]) -> list[Level]:
    return levels if isinstance(levels, list) else list(levels)
