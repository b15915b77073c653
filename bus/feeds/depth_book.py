"""One instrument's book between the venue and the bus: sync, levels, `depth` and `orderbook`.

The venue hands in diffs in arrival order and, when asked, snapshots. Published are: on every sync
the snapshot (`depth`, ``is_snapshot``) and after it every diff as a delta, those that waited for
it included; after each of them the best N levels (`orderbook`). A whole book is published again
when the last one is old, counted in deltas or in seconds, or when the broker came back.

A book that turns out crossed is wrong, whatever its numbers say: it is void and is rebuilt, and
its levels are never published on `orderbook`.

A book can lack levels that its snapshot did not reach. It is refreshed, being served meanwhile,
when its best prices differ from the venue's own top of book at the same update id (``audit``), when
they come near the edge of the snapshot's range (``edge``), and when the snapshot is old (``age``).
A second book is then built beside the live one, from a newer snapshot and the diffs since, and
takes its place at the same update id; consumers of `depth` get it as a whole book.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from bus.book import BookSync, Diff, Level, OrderBook, SyncAction, SyncState
from bus.client import Publisher
from bus.feeds.book_figures import BookLimits as BookLimits
from bus.feeds.book_figures import BookStats as BookStats
from bus.model import Depth
from bus.model import OrderBook as OrderBookTick
from bus.model.topic import Topic


class LevelDiff(Diff, Protocol):
    """A diff event: ids, changed levels, and its times in ns since 1970."""

    @property
    def bids(self) -> list[Level]:
        """Changed bids."""

    @property
    def asks(self) -> list[Level]:
        """Changed asks."""

    @property
    def venue_ts_ns(self) -> int:
        """The venue's time of the event."""

    @property
    def recv_ns(self) -> int:
        """When its bytes arrived here."""


class TopQuote(Protocol):
    """A venue's own top of book at one of its update ids."""

    @property
    def update_id(self) -> int:
        """Counted as the ids of diffs are."""

    @property
    def bid_price(self) -> float:
        """Best bid."""

    @property
    def bid_size(self) -> float:
        """Size at the best bid."""

    @property
    def ask_price(self) -> float:
        """Best ask."""

    @property
    def ask_size(self) -> float:
        """Size at the best ask."""


D = TypeVar("D", bound=LevelDiff)

IN_STEP: Final = (SyncState.SYNCED, SyncState.REFRESHING, SyncState.STALE)
EDGE: Final = 0.2
"""A best price this near to the edge of the snapshot's range, in parts of what it was away at the
snapshot, is too near: beyond the edge only levels that have changed since are known."""
REFRESH_TRIES: Final = 5
"""Snapshots of no use after which a refresh is given up."""
REFRESH_PAUSE_MISMATCHES: Final = 100
"""Further mismatches in a row after which a refresh given up is tried again."""
NEVER: Final = float("inf")
MAX_QUOTES: Final = 4_096
"""Quotes newer than the book that are kept for the audit; beyond it the oldest go unaudited."""


class DepthBook(Generic[D]):
    """Keeps and publishes one book. Not thread-safe; synchronous.

    ``on_change`` is called after each gain or loss of synchronisation, and when a snapshot is
    wanted: look at ``synced``, ``wants_snapshot`` and ``lost_reason``.
    """

    def __init__(
        self,
        publisher: Publisher,
        venue_label: str,
        symbol: str,
        limits: BookLimits,
        on_change: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._on_change = on_change
        self._depth = publisher.writer(Topic.md("depth", venue_label, symbol))
        self._orderbook = publisher.writer(Topic.md("orderbook", venue_label, symbol))
        self._sync: BookSync[D] = BookSync(limits.buffer_diffs)
        self._book = OrderBook(limits.book_max_levels)
        self._deltas = 0
        self._snapshot_due_ns = 0
        self._venue_ts_ns: int | None = None
        self._quotes: deque[TopQuote] = deque(maxlen=MAX_QUOTES)
        self.lost_reason = "starting"
        self.refresh_reason = ""
        self._pause_mismatches = 0
        self._useless_snapshots = 0
        self._parked: tuple[int, Sequence[Level], Sequence[Level], int, int, int] | None = None
        self._low_edge, self._high_edge = -NEVER, NEVER
        self._refresh_due_ns: int | None = None
        self._begun: Counter[str] = Counter()
        self.syncs = 0
        self.refreshes = 0
        self.crossed = 0
        self.audit_ok = 0
        self.audit_mismatch = 0

    @property
    def synced(self) -> bool:
        """Whether the book follows the venue."""
        return self._sync.state in IN_STEP

    @property
    def wants_snapshot(self) -> bool:
        """Whether ``on_snapshot`` should be called as soon as possible."""
        state = self._sync.state
        return state is SyncState.BUFFERING or (
            state is SyncState.REFRESHING and self._parked is None
        )

    @property
    def refreshing(self) -> bool:
        """Whether a newer snapshot is wanted although the book follows the venue."""
        return self._sync.state is SyncState.REFRESHING

    @property
    def buffered(self) -> int:
        """Diffs that wait for a snapshot."""
        return self._sync.buffered

    @property
    def last_id(self) -> int:
        """The venue's update id the book stands at; meaningful while ``synced``."""
        return self._sync.last_id

    @property
    def book(self) -> OrderBook:
        """The levels; meaningful while ``synced``."""
        return self._book

    def start(self, reason: str) -> None:
        """The stream begins (again): void the book, hold diffs, want a snapshot."""
        self.lost_reason = reason
        self._sync.start()
        self._quotes.clear()
        self._on_change()

    def stop(self, reason: str) -> None:
        """The stream ended: the book is void."""
        self.lost_reason = reason
        self._sync.stop()
        self._on_change()

    def on_diff(self, diff: D) -> bool:
        """One diff, in arrival order; whether it was news."""
        action = self._sync.on_diff(diff)
        if action is SyncAction.APPLY:
            self._apply(diff)
        elif action is SyncAction.FETCH:
            self.lost_reason = "gap"
            self._on_change()
        elif action is SyncAction.HOLD and self._sync.buffered == 1:
            self._on_change()
        parked = self._parked
        if parked is not None and (not self.refreshing or self._sync.last_id >= parked[0]):
            self._parked = None
            if self.refreshing:
                self.on_snapshot(*parked)
        return action is not SyncAction.IGNORE

    def silent(self) -> None:
        """The stream of diffs has fallen silent: the book is served as it is, and may be old."""
        self._sync.silent()

    def on_snapshot(
        self,
        last_update_id: int,
        bids: Sequence[Level],
        asks: Sequence[Level],
        recv_ns: int,
        now_mono_ns: int,
        limit: int = 0,
    ) -> bool:
        """A snapshot came; whether it was of use. If not and ``wants_snapshot``: fetch another.

        ``recv_ns`` is wall-clock ns, ``now_mono_ns`` monotonic. ``limit``: how many levels a side
        were asked for; a side with fewer has no edge (0: nothing is known of its edges).
        A refresh's snapshot that is ahead of the stream waits until the stream has reached it:
        were it taken at once, the deltas in between would be missing on ``depth``.
        """
        refreshing = self.refreshing
        if refreshing and _is_crossed(bids, asks):
            self._refresh_failed()
            return False
        if refreshing and last_update_id > self._sync.last_id:
            self._parked = (last_update_id, bids, asks, recv_ns, now_mono_ns, limit)
            return True
        action, waiting = self._sync.on_snapshot(last_update_id)
        if action is not SyncAction.LOAD:
            if refreshing:
                self._refresh_failed()
            return False
        self._pause_mismatches = 0
        if refreshing and not self._swap(bids, asks, waiting):
            return False
        self._remember_range(bids, asks, limit, now_mono_ns)
        if refreshing:
            self._useless_snapshots = 0
            self.refreshes += 1
            last_id = self._sync.last_id
            self._publish_whole(last_id, recv_ns, now_mono_ns)
            self._publish_top(last_id, self._venue_ts_ns, recv_ns)
            self._on_change()
            return True
        self._book.load(bids, asks)
        self.syncs += 1
        self.lost_reason = ""
        self._venue_ts_ns = None
        self._publish_whole(last_update_id, recv_ns, now_mono_ns)
        self._publish_top(last_update_id, None, recv_ns)
        for diff in waiting:
            self._apply(diff)
            if not self.synced:  # found crossed
                return False
        self._on_change()
        return True

    def on_quote(self, quote: TopQuote) -> None:
        """The venue's own top of book: kept until the book has reached its update id."""
        self._quotes.append(quote)

    def tick(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Call about once a second: publishes the whole book, or refreshes it, when it is old."""
        if self._refresh_due_ns is not None and now_mono_ns >= self._refresh_due_ns:
            self.refresh("age")
        if self.synced and now_mono_ns >= self._snapshot_due_ns:
            self._publish_whole(self._sync.last_id, now_wall_ns, now_mono_ns)

    def publish_snapshot(self, now_wall_ns: int, now_mono_ns: int) -> None:
        """Publish the whole book now, if there is one: the broker may have lost it."""
        if self.synced:
            self._publish_whole(self._sync.last_id, now_wall_ns, now_mono_ns)

    def stats(self) -> BookStats:
        """The counters, as one frozen value."""
        return BookStats(
            self.syncs,
            self.refreshes,
            self.crossed,
            self.audit_ok,
            self.audit_mismatch,
            dict(self._begun),
            self._book.trimmed_levels,
            self._sync.stats(),
        )

    def _apply(self, diff: D) -> None:
        bids = diff.bids
        asks = diff.asks
        book = self._book
        book.apply(bids, asks)
        if book.crossed:
            self.crossed += 1
            self.start("crossed")
            return
        venue_ts_ns = self._venue_ts_ns = diff.venue_ts_ns
        recv_ns = diff.recv_ns
        last_id = diff.last_id
        self._depth.publish(
            Depth(diff.first_id, last_id, bids, asks, False),
            venue_ts_ns=venue_ts_ns,
            recv_ts_ns=recv_ns,
        )
        self._deltas += 1
        self._publish_top(last_id, venue_ts_ns, recv_ns)
        if self._quotes:
            self._audit(last_id)
        if self._deltas >= self._limits.depth_snapshot_deltas:
            self._publish_whole(last_id, recv_ns, None)

    def _audit(self, last_id: int) -> None:
        """Compare with the venue's own top of book: its last one not newer than the book."""
        quotes = self._quotes
        latest: TopQuote | None = None
        while quotes and quotes[0].update_id <= last_id:
            latest = quotes.popleft()
        if latest is None:
            return
        bid, ask = self._book.best_bid, self._book.best_ask
        if bid == (latest.bid_price, latest.bid_size) and ask == (
            latest.ask_price,
            latest.ask_size,
        ):
            self.audit_ok += 1
            self._pause_mismatches = 0
            return
        self.audit_mismatch += 1
        if self._pause_mismatches:
            self._pause_mismatches -= 1
        else:
            self.refresh("audit")

    def refresh(self, reason: str) -> bool:
        """Take over a newer snapshot, without an outage; False: no book, or under way already."""
        if self._sync.refresh() is not SyncAction.FETCH:
            return False
        self.refresh_reason = reason
        self._parked = None
        self._begun[reason] += 1
        self._useless_snapshots = 0
        self._refresh_due_ns = None
        self._on_change()
        return True

    def _swap(self, bids: Sequence[Level], asks: Sequence[Level], waiting: Sequence[D]) -> bool:
        """Build the second book; it takes the live one's place, at the same update id.

        The diffs that ``waiting`` holds have been published already: the live book has them too.
        """
        fresh = OrderBook(self._limits.book_max_levels)
        fresh.load(*self._book.levels())
        fresh.merge(bids, asks)
        for diff in waiting:
            fresh.apply(diff.bids, diff.asks)
        if fresh.crossed:
            self._refresh_failed()
            return False
        fresh.trimmed_levels += self._book.trimmed_levels
        self._book = fresh
        return True

    def _remember_range(
        self, bids: Sequence[Level], asks: Sequence[Level], limit: int, now_mono_ns: int
    ) -> None:
        """Where the snapshot's knowledge ends, and when it is old."""
        self._low_edge, self._high_edge = -NEVER, NEVER
        if limit and len(bids) >= limit:
            worst, best = min(bids)[0], max(bids)[0]
            self._low_edge = worst + EDGE * (best - worst)
        if limit and len(asks) >= limit:
            worst, best = max(asks)[0], min(asks)[0]
            self._high_edge = worst - EDGE * (worst - best)
        after_s = self._limits.book_refresh_s
        self._refresh_due_ns = now_mono_ns + int(after_s * 1e9) if after_s else None

    def _refresh_failed(self) -> None:
        """The book goes on as it is; after a while the next mismatch asks again."""
        self._useless_snapshots += 1
        if self._useless_snapshots >= REFRESH_TRIES:
            self._pause_mismatches = REFRESH_PAUSE_MISMATCHES
            self._low_edge, self._high_edge = -NEVER, NEVER
            self._sync.keep()
            self._on_change()

    def _publish_top(self, last_id: int, venue_ts_ns: int | None, recv_ns: int) -> None:
        bids, asks = self._book.top(self._limits.orderbook_levels)
        self._orderbook.publish(
            OrderBookTick(last_id, bids, asks), venue_ts_ns=venue_ts_ns, recv_ts_ns=recv_ns
        )
        if (bids and bids[0][0] < self._low_edge) or (asks and asks[0][0] > self._high_edge):
            self.refresh("edge")

    def _publish_whole(self, last_id: int, recv_ns: int, now_mono_ns: int | None) -> None:
        bids, asks = self._book.levels()
        self._depth.publish(
            Depth(last_id, last_id, bids, asks, True),
            venue_ts_ns=self._venue_ts_ns,
            recv_ts_ns=recv_ns,
        )
        self._deltas = 0
        if now_mono_ns is not None:
            self._snapshot_due_ns = now_mono_ns + int(self._limits.depth_snapshot_s * 1e9)


def _is_crossed(bids: Sequence[Level], asks: Sequence[Level]) -> bool:
    return bool(bids and asks and max(bids)[0] >= min(asks)[0])
