"""What a consumer can rebuild from `depth` is the book, whatever happens on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.feeds.depth_book import BookLimits, DepthBook
from bus.model import Depth, Level, OrderBook
from tests.feeds.tap import Tap

DEPTH, BOOK = "md/depth/sim/BTC-USDT/", "md/orderbook/sim/BTC-USDT/"
S = 1_000_000_000


@dataclass(frozen=True)
class Diff:
    first_id: int
    last_id: int
    bids: list[tuple[float, float]] = field(default_factory=list)
    asks: list[tuple[float, float]] = field(default_factory=list)
    venue_ts_ns: int = 5
    recv_ns: int = 6


@dataclass(frozen=True)
class Top:
    update_id: int
    bid_price: float
    bid_size: float
    ask_price: float
    ask_size: float


class Bench:
    """A book, what it published, and how often it called for attention."""

    def __init__(self, **limits: Any) -> None:
        self.tap = Tap()
        self.changes = 0
        self.book: DepthBook[Diff] = DepthBook(
            self.tap.as_publisher(), "sim", "BTC-USDT", BookLimits(**limits), self._changed
        )

    def _changed(self) -> None:
        self.changes += 1

    def synced(self, last_id: int = 10) -> Bench:
        self.book.start("connected")
        assert self.book.on_snapshot(last_id, [(1.0, 1.0)], [(2.0, 1.0)], 7, 0)
        return self


def test_a_sync_publishes_the_snapshot_and_then_every_waiting_diff() -> None:
    bench = Bench()
    bench.book.start("connected")
    bench.book.on_diff(Diff(9, 11, bids=[(1.5, 1.0)]))
    bench.book.on_diff(Diff(12, 12, asks=[(2.0, 0.0), (3.0, 4.0)]))
    assert bench.tap.messages == []
    assert bench.book.buffered == 2
    assert bench.book.on_snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)], 7, 0)
    assert bench.tap.bodies(DEPTH) == [
        Depth(10, 10, [(1.0, 1.0)], [(2.0, 1.0)], True),
        Depth(9, 11, [(1.5, 1.0)], [], False),
        Depth(12, 12, [], [(2.0, 0.0), (3.0, 4.0)], False),
    ]
    assert bench.tap.bodies(BOOK) == [
        OrderBook(10, [(1.0, 1.0)], [(2.0, 1.0)]),
        OrderBook(11, [(1.5, 1.0), (1.0, 1.0)], [(2.0, 1.0)]),
        OrderBook(12, [(1.5, 1.0), (1.0, 1.0)], [(3.0, 4.0)]),
    ]
    assert (bench.book.synced, bench.book.last_id, bench.book.lost_reason) == (True, 12, "")


def test_a_live_diff_carries_its_own_times() -> None:
    bench = Bench().synced()
    bench.book.on_diff(Diff(11, 11, venue_ts_ns=50, recv_ns=60))
    assert [(m.venue_ts_ns, m.recv_ts_ns) for m in bench.tap.messages[-2:]] == [(50, 60)] * 2


def test_a_gap_voids_the_book_and_asks_for_a_snapshot() -> None:
    bench = Bench().synced()
    before = len(bench.tap.messages)
    bench.book.on_diff(Diff(12, 13))
    assert (bench.book.synced, bench.book.wants_snapshot) == (False, True)
    assert bench.book.lost_reason == "gap"
    assert len(bench.tap.messages) == before  # nothing wrong is published
    assert bench.book.on_snapshot(12, [(1.1, 1.0)], [(2.0, 1.0)], 7, 0)
    assert bench.tap.bodies(DEPTH)[-2:] == [
        Depth(12, 12, [(1.1, 1.0)], [(2.0, 1.0)], True),
        Depth(12, 13, [], [], False),
    ]
    assert bench.book.stats().syncs == 2


def test_a_snapshot_too_old_is_not_used() -> None:
    bench = Bench()
    bench.book.start("connected")
    bench.book.on_diff(Diff(20, 21))
    assert not bench.book.on_snapshot(10, [(1.0, 1.0)], [], 7, 0)
    assert bench.book.wants_snapshot
    assert bench.tap.messages == []


def test_a_crossed_book_is_void_and_never_published() -> None:
    bench = Bench().synced()
    bench.book.on_diff(Diff(11, 11, bids=[(2.5, 1.0)]))
    assert bench.tap.bodies(BOOK)[-1].venue_seq == 10
    assert (bench.book.synced, bench.book.lost_reason, bench.book.crossed) == (False, "crossed", 1)


def test_a_crossing_diff_among_the_waiting_ones_is_found() -> None:
    bench = Bench()
    bench.book.start("connected")
    bench.book.on_diff(Diff(10, 11, bids=[(2.5, 1.0)]))
    bench.book.on_diff(Diff(12, 12))
    assert not bench.book.on_snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)], 7, 0)
    assert bench.book.wants_snapshot


def test_a_whole_book_goes_out_after_so_many_deltas() -> None:
    bench = Bench(depth_snapshot_deltas=3).synced()
    for last_id in range(11, 18):
        bench.book.on_diff(Diff(last_id, last_id))
    kinds = [body.is_snapshot for body in bench.tap.bodies(DEPTH)]
    assert kinds == [True, False, False, False, True, False, False, False, True, False]


def test_a_whole_book_goes_out_after_so_many_seconds() -> None:
    bench = Bench(depth_snapshot_s=30).synced()
    bench.book.on_diff(Diff(11, 11, bids=[(1.2, 9.0)]))
    bench.book.tick(99, 29 * S)
    assert not bench.tap.bodies(DEPTH)[-1].is_snapshot
    bench.book.tick(99, 30 * S)
    assert bench.tap.bodies(DEPTH)[-1] == Depth(
        11, 11, [(1.2, 9.0), (1.0, 1.0)], [(2.0, 1.0)], True
    )
    bench.book.tick(99, 31 * S)
    assert len(bench.tap.bodies(DEPTH)) == 3


def test_a_whole_book_goes_out_when_the_broker_came_back() -> None:
    bench = Bench().synced()
    bench.book.publish_snapshot(99, 0)
    assert [body.is_snapshot for body in bench.tap.bodies(DEPTH)] == [True, True]


def test_without_a_book_nothing_goes_out() -> None:
    bench = Bench()
    bench.book.publish_snapshot(99, 0)
    bench.book.start("connected")
    bench.book.tick(99, 100 * S)
    bench.book.stop("closed")
    bench.book.on_diff(Diff(1, 1))
    assert bench.tap.messages == []
    assert not bench.book.wants_snapshot


def test_only_the_best_levels_are_on_orderbook() -> None:
    bench = Bench(orderbook_levels=2)
    bench.book.start("connected")
    bids = [(float(price), 1.0) for price in range(1, 9)]
    asks = [(float(price), 1.0) for price in range(10, 19)]
    bench.book.on_snapshot(10, bids, asks, 7, 0)
    assert bench.tap.bodies(BOOK) == [
        OrderBook(10, [(8.0, 1.0), (7.0, 1.0)], [(10.0, 1.0), (11.0, 1.0)])
    ]


def test_the_audit_compares_with_the_last_quote_not_newer_than_the_book() -> None:
    bench = Bench().synced()
    bench.book.on_quote(Top(11, 9.0, 9.0, 9.0, 9.0))  # replaced before the book gets there
    bench.book.on_quote(Top(12, 1.5, 1.0, 2.0, 1.0))
    bench.book.on_quote(Top(14, 7.0, 7.0, 7.0, 7.0))  # newer than the book
    bench.book.on_diff(Diff(11, 13, bids=[(1.5, 1.0)]))
    assert (bench.book.audit_ok, bench.book.audit_mismatch) == (1, 0)
    bench.book.on_diff(Diff(14, 15))
    assert (bench.book.audit_ok, bench.book.audit_mismatch) == (1, 1)


def test_attention_is_called_for_when_the_first_diff_waits() -> None:
    bench = Bench()
    bench.book.start("connected")
    before = bench.changes
    bench.book.on_diff(Diff(1, 1))
    bench.book.on_diff(Diff(2, 2))
    assert bench.changes == before + 1


def mismatched(times: int = 1) -> Bench:
    """A book in step, found to lack the venue's best bid so many times in a row."""
    bench = Bench().synced()
    for last_id in range(111 - times + 1, 112):
        bench.book.on_diff(Diff(11, last_id - 1))
        bench.book.on_quote(Top(last_id, 1.7, 5.0, 2.0, 1.0))
        bench.book.on_diff(Diff(last_id, last_id))
    return bench


def test_a_book_that_differs_from_the_venues_top_is_refreshed_without_an_outage() -> None:
    bench = mismatched()
    assert (bench.book.synced, bench.book.refreshing, bench.book.wants_snapshot) == (True,) * 3
    bench.book.on_diff(Diff(112, 112, bids=[(1.2, 2.0)]))
    assert bench.tap.bodies(BOOK)[-1].venue_seq == 112  # served meanwhile
    assert bench.book.on_snapshot(111, [(1.7, 5.0), (1.0, 1.0)], [(2.0, 1.0)], 7, 0)
    assert bench.tap.bodies(DEPTH)[-1] == Depth(
        112, 112, [(1.7, 5.0), (1.2, 2.0), (1.0, 1.0)], [(2.0, 1.0)], True
    )
    assert bench.tap.bodies(BOOK)[-1].bids[0] == (1.7, 5.0)
    assert (bench.book.refreshing, bench.book.synced) == (False, True)
    stats = bench.book.stats()
    assert (stats.syncs, stats.refreshes, stats.audit_mismatch) == (1, 1, 1)
    assert stats.refreshes_begun == {"audit": 1}


def test_a_refresh_keeps_what_is_known_beyond_the_newer_snapshot() -> None:
    bench = mismatched()
    bench.book.on_diff(Diff(112, 112, bids=[(0.5, 9.0)], asks=[(8.0, 9.0)]))
    bench.book.on_snapshot(112, [(1.7, 5.0), (1.0, 1.0)], [(2.0, 1.0)], 7, 0)
    body = bench.tap.bodies(DEPTH)[-1]
    assert (body.bids[-1], body.asks[-1]) == ((0.5, 9.0), (8.0, 9.0))


def test_a_refresh_is_given_up_after_snapshots_of_no_use() -> None:
    bench = mismatched()
    for _ in range(5):
        assert bench.book.wants_snapshot
        assert not bench.book.on_snapshot(50, [(1.0, 1.0)], [], 7, 0)
    assert (bench.book.wants_snapshot, bench.book.synced, bench.book.last_id) == (False, True, 111)


def test_a_crossed_snapshot_does_not_take_the_live_books_place() -> None:
    bench = mismatched()
    before = bench.book.book
    assert not bench.book.on_snapshot(200, [(9.0, 1.0)], [(2.0, 1.0)], 7, 0)
    assert bench.book.book is before
    assert (bench.book.synced, bench.book.wants_snapshot, bench.book.last_id) == (True, True, 111)


def test_the_second_book_takes_the_live_ones_place_at_the_same_id() -> None:
    bench = mismatched()
    before = bench.book.book
    bench.book.on_diff(Diff(112, 115, bids=[(1.2, 2.0)]))
    assert bench.book.book is before
    assert bench.book.on_snapshot(113, [(1.7, 5.0)], [(2.0, 1.0)], 7, 0)
    assert bench.book.book is not before
    assert bench.book.last_id == 115  # the held diff was applied to the second one too
    assert bench.book.book.top(2)[0] == [(1.7, 5.0), (1.2, 2.0)]


def test_a_newer_snapshot_waits_until_the_stream_has_reached_it() -> None:
    """So that no delta is missing on ``depth``: every one is published, then the swap."""
    bench = mismatched()
    before = bench.book.book
    assert bench.book.on_snapshot(114, [(1.7, 5.0)], [(2.0, 1.0)], 7, 0)
    assert (bench.book.refreshing, bench.book.wants_snapshot) == (True, False)
    published = len(bench.tap.bodies(DEPTH))
    bench.book.on_diff(Diff(112, 113, bids=[(1.2, 2.0)]))
    assert bench.book.book is before
    bench.book.on_diff(Diff(114, 115, bids=[(1.3, 2.0)]))
    assert bench.book.book is not before
    assert (bench.book.last_id, bench.book.refreshing) == (115, False)
    assert bench.book.book.top(3)[0] == [(1.7, 5.0), (1.3, 2.0), (1.2, 2.0)]
    deltas = bench.tap.bodies(DEPTH)[published:]
    assert [(d.first_venue_seq, d.last_venue_seq, d.is_snapshot) for d in deltas[:2]] == [
        (112, 113, False),
        (114, 115, False),
    ]
    assert deltas[2].is_snapshot
    assert deltas[2].last_venue_seq == 115


@pytest.mark.parametrize("ending", ["gap", "stop", "silent", "start"])
def test_a_waiting_snapshot_goes_with_the_refresh_it_was_for(ending: str) -> None:
    bench = mismatched()
    assert bench.book.on_snapshot(200, [(1.7, 5.0)], [(2.0, 1.0)], 7, 0)
    if ending == "gap":
        bench.book.on_diff(Diff(150, 151))
    elif ending == "stop":
        bench.book.stop("closed")
    elif ending == "silent":
        bench.book.silent()
    else:
        bench.book.start("connected")
    assert not bench.book.refreshing
    assert bench.book.wants_snapshot is (ending in ("gap", "start"))
    bench.book.on_diff(Diff(112, 250))
    assert bench.book.stats().refreshes == 0


def test_each_mismatch_begins_a_refresh_at_the_very_diff() -> None:
    bench = mismatched()
    assert bench.book.refreshing
    bench.book.on_snapshot(111, [(1.7, 5.0)], [(2.0, 1.0)], 7, 0)
    bench.book.on_quote(Top(112, 1.8, 5.0, 2.0, 1.0))
    bench.book.on_diff(Diff(112, 112))
    assert bench.book.refreshing
    assert bench.book.stats().refreshes_begun == {"audit": 2}
    assert bench.book.synced


def ranged(limit: int) -> Bench:
    """A book of ten levels a side, 90..99 and 101..110."""
    bench = Bench()
    bench.book.start("connected")
    bids = [(100.0 - away, 1.0) for away in range(1, 11)]
    asks = [(100.0 + away, 1.0) for away in range(1, 11)]
    assert bench.book.on_snapshot(10, bids, asks, 7, 0, limit)
    return bench


def test_a_price_that_nears_the_edge_of_the_snapshot_brings_a_refresh() -> None:
    bench = ranged(10)
    for step, away in enumerate(range(1, 8)):
        bench.book.on_diff(Diff(11 + step, 11 + step, bids=[(100.0 - away, 0.0)]))
    assert not bench.book.refreshing  # best bid 92, edge 90, a fifth of the range is 1.8
    bench.book.on_diff(Diff(18, 18, bids=[(92.0, 0.0)]))
    assert (bench.book.refreshing, bench.book.refresh_reason) == (True, "edge")
    assert bench.book.synced


def test_a_snapshot_that_held_the_whole_side_has_no_edge() -> None:
    bench = ranged(100)
    bids = [(100.0 - away, 0.0) for away in range(1, 10)]
    bench.book.on_diff(Diff(11, 11, bids=bids))
    assert not bench.book.refreshing


def test_an_old_book_is_refreshed() -> None:
    bench = Bench(book_refresh_s=100.0).synced()
    bench.book.tick(1, 99 * S)
    assert not bench.book.refreshing
    bench.book.tick(1, 100 * S)
    assert (bench.book.refreshing, bench.book.refresh_reason) == (True, "age")
    bench.book.on_snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)], 7, 101 * S)
    bench.book.tick(1, 200 * S)
    assert not bench.book.refreshing
    bench.book.tick(1, 201 * S)
    assert bench.book.refreshing


def test_a_silent_book_is_served_and_goes_on_when_nothing_was_missed() -> None:
    bench = Bench().synced()
    bench.book.silent()
    assert bench.book.synced
    assert bench.book.on_diff(Diff(11, 12, bids=[(1.5, 1.0)]))
    bench.book.silent()
    bench.book.on_diff(Diff(20, 21))
    assert (bench.book.synced, bench.book.lost_reason) == (False, "gap")


class Market:
    """A true book on a grid of ticks: every price below the best bid and above the best ask rests.

    A step moves the price one tick and changes the two levels at the touch only, so that a level
    farther out is never mentioned by a diff until the price has reached it.
    """

    def __init__(self) -> None:
        self.best_bid = 10_000
        self.update_id = 10

    @staticmethod
    def size(price: int) -> float:
        return 1.0 + price % 7

    def step(self, up: bool) -> Diff:
        self.update_id += 1
        self.best_bid += 1 if up else -1
        bid, ask = self.best_bid, self.best_bid + 1
        if up:  # the lowest ask was lifted and bid for
            bids, asks = [(float(bid), self.size(bid))], [(float(bid), 0.0)]
        else:  # the highest bid was hit and offered
            bids, asks = [(float(ask), 0.0)], [(float(ask), self.size(ask))]
        return Diff(self.update_id, self.update_id, bids, asks)

    def snapshot(self, limit: int) -> tuple[int, list[Level], list[Level]]:
        bids = [(float(p), self.size(p)) for p in range(self.best_bid, self.best_bid - limit, -1)]
        asks = [
            (float(p), self.size(p)) for p in range(self.best_bid + 1, self.best_bid + 1 + limit)
        ]
        return self.update_id, bids, asks

    @property
    def top(self) -> tuple[Level, Level]:
        bid, ask = self.best_bid, self.best_bid + 1
        return (float(bid), self.size(bid)), (float(ask), self.size(ask))


@given(delay=st.integers(0, 8), wobbles=st.lists(st.booleans(), min_size=1, max_size=40))
@settings(max_examples=10)
def test_a_price_that_leaves_the_snapshots_range_and_comes_back_never_shows_a_wrong_top(
    delay: int, wobbles: list[bool]
) -> None:
    """The snapshot holds 50 levels a side; the price goes 400 ticks down and comes back."""
    market, bench = Market(), Bench()
    bench.book.start("connected")
    assert bench.book.on_snapshot(*market.snapshot(50), 7, 0, 50)
    true_tops = {market.update_id: market.top}
    reply: tuple[int, tuple[int, list[Level], list[Level]]] | None = None
    path = [False] * 400 + wobbles + [not up for up in wobbles] + [True] * 400
    for number, up in enumerate(path):
        diff = market.step(up)
        true_tops[market.update_id] = market.top
        (bid, bid_size), (ask, ask_size) = market.top
        bench.book.on_quote(Top(market.update_id, bid, bid_size, ask, ask_size))
        bench.book.on_diff(diff)
        assert bench.book.synced, "there is no moment without a book"
        if reply is None and bench.book.wants_snapshot:
            reply = (number + delay, market.snapshot(50))
        if reply is not None and number >= reply[0]:
            bench.book.on_snapshot(*reply[1], 7, 0, 50)
            reply = None
    shown = [m.body for m in bench.tap.messages if m.topic == BOOK]
    assert len(shown) >= len(path)
    for book in shown:
        assert isinstance(book, OrderBook)
        assert book.venue_seq is not None
        assert (book.bids[0], book.asks[0]) == true_tops[book.venue_seq]
    stats = bench.book.stats()
    assert stats.audit_mismatch == 0
    assert set(stats.refreshes_begun) == {"edge"}
    assert stats.refreshes >= 8
