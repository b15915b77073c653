"""The book agrees with a naive one, whatever is applied, and stays as quick as it was."""

from __future__ import annotations

import random
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.book import OrderBook
from tests.book.naive import NaiveBook

TICKS = st.integers(1, 40).map(lambda tick: f"{Decimal(tick) / 100:.8f}")
SIZES = st.one_of(
    st.sampled_from(["0.00000000", "0", "0.0"]),
    st.integers(1, 10**12).map(lambda units: f"{Decimal(units) / 10**8:.8f}"),
)
CHANGES = st.lists(st.tuples(TICKS, SIZES), max_size=30)


def floats(changes: list[tuple[str, str]]) -> list[tuple[float, float]]:
    return [(float(price), float(size)) for price, size in changes]


@given(st.lists(st.tuples(CHANGES, CHANGES), max_size=12), st.integers(1, 25))
def test_it_agrees_with_a_naive_book(
    updates: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]], count: int
) -> None:
    book, naive = OrderBook(), NaiveBook()
    for bids, asks in updates:
        book.apply(floats(bids), floats(asks))
        naive.apply(bids, asks)
        for mine, theirs in zip(book.top(count), naive.top(count), strict=True):
            assert [(Decimal(repr(p)), Decimal(repr(s))) for p, s in mine] == theirs
        assert (book.bid_count, book.ask_count) == (len(naive.bids), len(naive.asks))
        best_bid, best_ask = naive.top(1)
        assert (book.best_bid is None) == (not best_bid)
        assert (book.best_ask is None) == (not best_ask)
        crossed = bool(best_bid and best_ask and best_bid[0][0] >= best_ask[0][0])
        assert book.crossed == crossed


@given(CHANGES, CHANGES)
def test_loading_is_applying_to_an_empty_book(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]]
) -> None:
    loaded, applied = OrderBook(), OrderBook()
    loaded.apply([(1.0, 1.0)], [(2.0, 1.0)])
    unique_bids, unique_asks = dict(floats(bids)), dict(floats(asks))
    loaded.load(unique_bids.items(), unique_asks.items())
    applied.apply(list(unique_bids.items()), list(unique_asks.items()))
    assert loaded.levels() == applied.levels()


@given(st.integers(0, 9_999_999_99999999), st.integers(0, 8))
def test_text_of_fifteen_digits_survives_as_a_key(units: int, decimals: int) -> None:
    text = f"{Decimal(units) / 10**8:.{decimals}f}"
    assert Decimal(repr(float(text))) == Decimal(text)


def test_two_spellings_of_a_price_are_one_level() -> None:
    book = OrderBook()
    book.apply([(float("1.5"), 1.0)], [])
    book.apply([(float("1.50000000"), 2.0)], [])
    assert book.levels() == ([(1.5, 2.0)], [])


def test_removing_an_absent_level_is_fine() -> None:
    book = OrderBook()
    book.apply([(1.0, 0.0)], [(2.0, 0.0)])
    assert book.levels() == ([], [])
    assert not book.crossed


def test_one_price_twice_in_an_update_is_applied_in_order() -> None:
    book = OrderBook()
    book.apply([(1.0, 5.0), (1.0, 0.0), (1.0, 7.0)], [])
    assert book.best_bid == (1.0, 7.0)


def test_equal_best_prices_are_crossed() -> None:
    book = OrderBook()
    book.load([(2.0, 1.0)], [(2.0, 1.0)])
    assert book.crossed


def test_a_side_over_its_bound_forgets_its_farthest_tenth() -> None:
    book = OrderBook(max_levels=100)
    book.load([(float(price), 1.0) for price in range(1, 101)], [])
    assert book.trimmed_levels == 0
    book.apply([(101.0, 1.0)], [])
    assert book.bid_count == 90
    assert book.trimmed_levels == 11
    assert book.best_bid == (101.0, 1.0)
    assert book.levels()[0][-1] == (12.0, 1.0)
    book.apply([(1.0, 0.0)], [])  # the venue removes a level forgotten here
    assert book.bid_count == 90


def test_trimming_keeps_the_best_asks() -> None:
    book = OrderBook(max_levels=10)
    book.load([], [(float(price), 1.0) for price in range(1, 13)])
    assert [price for price, _ in book.levels()[1]] == [float(price) for price in range(1, 10)]


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        OrderBook(max_levels=0)


def test_merging_replaces_inside_the_snapshots_range_and_keeps_the_rest() -> None:
    book = OrderBook()
    book.load([(5.0, 1.0), (4.0, 1.0), (2.0, 1.0)], [(6.0, 1.0), (9.0, 1.0)])
    book.merge([(4.5, 2.0), (3.0, 2.0)], [(6.0, 3.0), (7.0, 3.0)])
    assert book.levels() == (
        [(4.5, 2.0), (3.0, 2.0), (2.0, 1.0)],
        [(6.0, 3.0), (7.0, 3.0), (9.0, 1.0)],
    )


def test_merging_an_empty_side_empties_it() -> None:
    book = OrderBook()
    book.load([(5.0, 1.0)], [(6.0, 1.0)])
    book.merge([], [])
    assert book.levels() == ([], [])


def test_clear_forgets_everything() -> None:
    book = OrderBook()
    book.load([(1.0, 1.0)], [(2.0, 1.0)])
    book.clear()
    assert book.levels() == ([], [])
    assert book.best_bid is None
    assert book.best_ask is None


def test_an_update_costs_the_same_after_a_long_time() -> None:
    """200,000 changes near a moving price: the last tenth must not be dearer than the first."""
    rng = random.Random(7)
    book = OrderBook()
    book.load(
        [(100 - i / 100, 1.0) for i in range(1_000)],
        [(100 + i / 100, 1.0) for i in range(1, 1_001)],
    )
    updates = []
    for i in range(10_000):
        middle = 100 + 5 * (i / 10_000)
        bids = [
            (round(middle - rng.expovariate(4), 2), rng.choice((0.0, 1.0, 2.0))) for _ in range(10)
        ]
        asks = [
            (round(middle + 0.5 + rng.expovariate(4), 2), rng.choice((0.0, 1.0, 2.0)))
            for _ in range(10)
        ]
        updates.append((bids, asks))
    costs = []
    for start in range(0, len(updates), 1_000):
        started = time.process_time()
        for bids, asks in updates[start : start + 1_000]:
            book.apply(bids, asks)
            book.top(20)
        costs.append(time.process_time() - started)
    assert min(costs[-3:]) < 3 * min(costs[:3])
