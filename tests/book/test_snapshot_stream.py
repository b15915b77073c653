"""Books without numbers: every state, every input; the book itself against the naive one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.book import Level
from bus.book.snapshot_stream import (
    TRANSITIONS,
    SnapshotStream,
    StreamAction,
    StreamInput,
    StreamState,
    WholeBook,
)
from tests.book.naive import NaiveBook

INPUTS = st.sampled_from(list(StreamInput))


def feed(stream: SnapshotStream, what: StreamInput) -> StreamAction:
    return {
        StreamInput.START: stream.start,
        StreamInput.STOP: stream.stop,
        StreamInput.LOST: stream.lost,
        StreamInput.SNAPSHOT: stream.on_snapshot,
        StreamInput.UPDATE: stream.on_update,
    }[what]()


def test_the_table_is_complete() -> None:
    assert set(TRANSITIONS) == {(state, what) for state in StreamState for what in StreamInput}


@given(st.lists(INPUTS, max_size=30))
def test_the_code_follows_the_table_and_the_position_never_falls(inputs: list[StreamInput]) -> None:
    stream = SnapshotStream()
    positions = [0]
    for what in inputs:
        state, action = TRANSITIONS[stream.state, what]
        assert feed(stream, what) is action
        assert stream.state is state
        counted = action in (StreamAction.LOAD, StreamAction.APPLY)
        assert stream.position - positions[-1] == counted
        positions.append(stream.position)
    assert all(low <= high for low, high in pairwise(positions))


def test_a_lost_book_is_subscribed_to_once() -> None:
    stream = SnapshotStream()
    stream.start()
    stream.on_snapshot()
    assert stream.lost() is StreamAction.RESUBSCRIBE
    assert stream.lost() is StreamAction.IGNORE


def test_updates_before_the_snapshot_are_ignored_and_counted() -> None:
    stream = SnapshotStream()
    stream.start()
    assert stream.on_update() is StreamAction.IGNORE
    assert (stream.ignored, stream.position) == (1, 0)
    stream.on_snapshot()
    assert stream.on_update() is StreamAction.APPLY
    assert stream.position == 2


prices = st.integers(1, 30).map(float)
snapshots = st.dictionaries(prices, st.sampled_from([1.0, 2.5]), max_size=12)
levels = st.lists(st.tuples(prices, st.sampled_from([0.0, 1.0, 2.5])), max_size=12)


def texts(changes: list[Level]) -> list[tuple[str, str]]:
    return [(str(price), str(size)) for price, size in changes]


@given(snapshots, snapshots, st.lists(st.tuples(levels, levels), max_size=6))
def test_a_whole_book_is_the_naive_one_and_tells_what_it_was_told(
    bids: dict[float, float],
    asks: dict[float, float],
    updates: list[tuple[list[Level], list[Level]]],
) -> None:
    book, naive = WholeBook(1_000), NaiveBook()
    book.load([*bids.items()], [*asks.items()], None)
    naive.apply(texts([*bids.items()]), texts([*asks.items()]))
    for more_bids, more_asks in updates:
        change = book.apply(more_bids, more_asks, None)
        naive.apply(texts(more_bids), texts(more_asks))
        assert (change.bids, change.asks) == (more_bids, more_asks)
        best_bids, best_asks = (
            [(float(price), float(size)) for price, size in side] for side in naive.top(1_000)
        )
        assert book.levels() == (best_bids, best_asks)
        crossed = bool(best_bids and best_asks and best_bids[0][0] >= best_asks[0][0])
        assert change.fault == ("crossed" if crossed else "")


@pytest.mark.parametrize(("bid", "fault"), [(9.0, ""), (10.0, "crossed"), (11.0, "crossed")])
def test_a_crossed_snapshot_is_a_fault_too(bid: float, fault: str) -> None:
    assert WholeBook(100).load([(bid, 1.0)], [(10.0, 1.0)], None).fault == fault


def test_what_a_bound_made_it_forget_is_counted() -> None:
    book = WholeBook(10)
    book.load([(float(price), 1.0) for price in range(1, 21)], [], None)
    assert book.trimmed_levels > 0
    assert book.top(1) == ([(20.0, 1.0)], [])
