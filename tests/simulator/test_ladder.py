"""The simulated book: update ids, diffs, and its refusal to cross."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.ladder import Diff, Ladder


def filled() -> Ladder:
    ladder = Ladder(100)
    for price, size in ((99, 5), (98, 6)):
        ladder.set(True, price, size)
    for price, size in ((101, 7), (103, 8)):
        ladder.set(False, price, size)
    return ladder


def test_the_best_levels_are_the_highest_bid_and_the_lowest_ask() -> None:
    assert filled().best() == (99, 5, 101, 7)


def test_every_change_takes_one_update_id() -> None:
    ladder = filled()
    assert ladder.update_id == 104
    ladder.set(True, 99, 0)
    assert ladder.update_id == 105


def test_a_diff_holds_the_final_size_of_each_changed_level() -> None:
    ladder = filled()
    ladder.take_diff(0)
    ladder.set(True, 99, 1)
    ladder.set(True, 99, 2)
    ladder.set(False, 101, 0)
    assert ladder.take_diff(0) == Diff(105, 107, ((99, 2),), ((101, 0),))


def test_the_next_diff_begins_where_the_last_one_ended() -> None:
    ladder = filled()
    first = ladder.take_diff(0)
    assert first is not None
    ladder.set(True, 97, 1)
    second = ladder.take_diff(0)
    assert second is not None
    assert second.first_id == first.last_id + 1


def test_nothing_changed_means_no_diff() -> None:
    ladder = filled()
    ladder.take_diff(0)
    assert ladder.take_diff(0) is None


def test_the_two_diff_streams_remember_on_their_own() -> None:
    ladder = filled()
    ladder.take_diff(0)
    ladder.set(True, 97, 1)
    fast, slow = ladder.take_diff(0), ladder.take_diff(1)
    assert fast is not None
    assert slow is not None
    assert (fast.first_id, fast.last_id) == (105, 105)
    assert (slow.first_id, slow.last_id) == (101, 105)


def test_a_skipped_diff_leaves_the_next_one_contiguous() -> None:
    ladder = filled()
    ladder.skip_diff(0)
    ladder.set(True, 97, 1)
    diff = ladder.take_diff(0)
    assert diff is not None
    assert (diff.first_id, diff.last_id) == (105, 105)


@pytest.mark.parametrize(("is_bid", "price"), [(True, 101), (True, 102), (False, 99), (False, 98)])
def test_a_crossing_level_is_refused(is_bid: bool, price: int) -> None:
    ladder = filled()
    if not is_bid and price == 98:
        ladder.set(True, 98, 0)
    with pytest.raises(AssertionError, match="crossed"):
        ladder.set(is_bid, price, 1)


def test_top_gives_the_best_levels_best_first() -> None:
    assert filled().top(1) == ([(99, 5)], [(101, 7)])
    assert filled().top(10) == ([(99, 5), (98, 6)], [(101, 7), (103, 8)])


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 9)), max_size=120))
def test_diffs_applied_to_an_empty_book_rebuild_it(
    changes: list[tuple[bool, int, int]],
) -> None:
    ladder = Ladder(0)
    rebuilt: tuple[dict[int, int], dict[int, int]] = ({}, {})
    last_id = 0
    for number, (is_bid, offset, size) in enumerate(changes):
        price = 100 - offset if is_bid else 100 + offset
        if size or ladder.size(is_bid, price):
            ladder.set(is_bid, price, size)
        if number % 7 == 0 and (diff := ladder.take_diff(0)) is not None:
            assert diff.first_id == last_id + 1
            last_id = diff.last_id
            for side, levels in zip(rebuilt, (diff.bids, diff.asks), strict=True):
                for level_price, level_size in levels:
                    side[level_price] = level_size
                    if level_size == 0:
                        del side[level_price]
    if (diff := ladder.take_diff(0)) is not None:
        for side, levels in zip(rebuilt, (diff.bids, diff.asks), strict=True):
            side.update(levels)
    bids, asks = ladder.top(1_000)
    assert {price: size for price, size in rebuilt[0].items() if size} == dict(bids)
    assert {price: size for price, size in rebuilt[1].items() if size} == dict(asks)
