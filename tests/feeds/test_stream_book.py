"""A book on a stream that begins with its snapshot: what is published, and when it is void."""

from __future__ import annotations

from bus.book import Level
from bus.book.snapshot_stream import WholeBook
from bus.feeds.depth_book import BookLimits
from bus.feeds.stream_book import StreamBook
from bus.model import Depth, OrderBook
from tests.feeds.tap import Tap

DEPTH, BOOK = "md/depth/sim/BTC-USD/", "md/orderbook/sim/BTC-USD/"
S = 1_000_000_000


class Bench:
    """A book, what it published and how often it called."""

    def __init__(self, limits: BookLimits | None = None) -> None:
        self.tap = Tap()
        self.changes = 0
        self.book: StreamBook[Level] = StreamBook(
            self.tap.as_publisher(),
            "sim",
            "BTC-USD",
            limits or BookLimits(),
            WholeBook(1_000),
            self.changed,
        )

    def changed(self) -> None:
        self.changes += 1

    def snapshot(self, bid: float = 99.0, ask: float = 101.0, mono_ns: int = 0) -> None:
        self.book.on_snapshot([(bid, 1.0)], [(ask, 1.0)], None, None, 5, mono_ns)

    def update(self, price: float, size: float, recv_ns: int = 6) -> None:
        self.book.on_update([(price, size)], [], None, 3, recv_ns)

    def following(self) -> Bench:
        self.book.start("book_sync")
        self.snapshot()
        return self


def test_a_snapshot_then_updates_are_published_with_a_count_of_ours() -> None:
    bench = Bench().following()
    bench.update(98.0, 2.0)
    bench.update(98.0, 0.0)
    assert bench.tap.bodies(DEPTH) == [
        Depth(1, 1, [(99.0, 1.0)], [(101.0, 1.0)], True),
        Depth(2, 2, [(98.0, 2.0)], [], False),
        Depth(3, 3, [(98.0, 0.0)], [], False),
    ]
    assert bench.tap.bodies(BOOK)[1] == OrderBook(2, [(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.0)])
    assert [message.venue_ts_ns for message in bench.tap.messages] == [None, None, 3, 3, 3, 3]


def test_before_a_snapshot_nothing_is_published() -> None:
    bench = Bench()
    bench.update(98.0, 2.0)
    bench.snapshot()
    assert not bench.tap.messages
    bench.book.start("book_sync")
    bench.update(98.0, 2.0)
    assert not bench.tap.messages
    assert bench.book.stats().ignored == 2


def test_a_crossed_book_is_void_asks_once_and_is_never_published() -> None:
    bench = Bench().following()
    bench.update(101.0, 1.0)
    bench.update(98.0, 1.0)
    assert len(bench.tap.bodies(DEPTH)) == 1
    assert bench.book.resubscribe
    assert (bench.book.synced, bench.book.lost_reason) == (False, "crossed")
    stats = bench.book.stats()
    assert (stats.faults, stats.crossed, stats.checksum_failed) == (1, 1, 0)
    assert bench.changes == 3  # start, snapshot, loss


def test_the_next_snapshot_makes_it_whole_and_the_count_goes_on() -> None:
    bench = Bench().following()
    bench.update(98.0, 2.0)
    bench.book.lose("heartbeat")
    bench.snapshot(bid=97.0)
    assert bench.tap.bodies(DEPTH)[-1] == Depth(3, 3, [(97.0, 1.0)], [(101.0, 1.0)], True)
    assert (bench.book.synced, bench.book.resubscribe, bench.book.syncs) == (True, False, 2)


def test_a_faulty_snapshot_is_not_published_and_asks_again() -> None:
    bench = Bench()
    bench.book.start("book_sync")
    bench.snapshot(bid=102.0)
    assert not bench.tap.messages
    assert bench.book.resubscribe
    assert bench.book.syncs == 0


def test_a_snapshot_out_of_turn_replaces_the_book() -> None:
    bench = Bench().following()
    bench.snapshot(bid=90.0)
    assert bench.tap.bodies(DEPTH)[-1] == Depth(2, 2, [(90.0, 1.0)], [(101.0, 1.0)], True)


def test_a_whole_book_comes_again_with_the_number_it_stands_at() -> None:
    bench = Bench(BookLimits(depth_snapshot_deltas=2)).following()
    bench.update(98.0, 2.0)
    bench.update(97.0, 2.0)
    whole = Depth(3, 3, [(99.0, 1.0), (98.0, 2.0), (97.0, 2.0)], [(101.0, 1.0)], True)
    assert bench.tap.bodies(DEPTH)[-1] == whole
    bench.update(97.0, 0.0)
    assert bench.tap.bodies(DEPTH)[-1].first_venue_seq == 4


def test_an_old_whole_book_is_published_anew_by_the_clock() -> None:
    bench = Bench(BookLimits(depth_snapshot_s=30.0)).following()
    bench.book.tick(7, 29 * S)
    assert len(bench.tap.bodies(DEPTH)) == 1
    bench.book.tick(7, 30 * S)
    assert len(bench.tap.bodies(DEPTH)) == 2
    bench.book.stop("closed")
    bench.book.tick(7, 90 * S)
    bench.book.publish_snapshot(7, 90 * S)
    assert len(bench.tap.bodies(DEPTH)) == 2


def test_when_the_broker_comes_back_the_whole_book_is_published() -> None:
    bench = Bench().following()
    bench.book.publish_snapshot(7, 1)
    assert bench.tap.bodies(DEPTH)[-1].is_snapshot


def test_a_consumer_that_keeps_the_rule_of_depth_has_the_book() -> None:
    bench = Bench(BookLimits(depth_snapshot_deltas=3)).following()
    for number in range(20):
        bench.update(90.0 + number % 7, float(number % 3))
        if number == 11:
            bench.book.lose("crossed")
            bench.snapshot()
    position, bids = -1, {}
    for depth in bench.tap.bodies(DEPTH):
        if depth.is_snapshot:
            bids = dict(depth.bids)
        else:
            assert depth.first_venue_seq <= position + 1 <= depth.last_venue_seq
            bids.update(depth.bids)
        position = depth.last_venue_seq
    assert (
        sorted(((p, s) for p, s in bids.items() if s), reverse=True) == bench.book.book.levels()[0]
    )
