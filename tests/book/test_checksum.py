"""The checksum book: the venue's two published samples, and a book that follows by the rules."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.book.checksum import (
    CHECKED_LEVELS,
    ChecksumBook,
    DecimalLevel,
    NotScalable,
    crc32,
    scaled,
)

# docs.kraken.com: guides, spot-ws-book-v2 (BTC/USD, precisions 1 and 8)
GUIDE_ASKS = '[["45285.2","0.00100000"],["45286.4","1.54571953"],["45286.6","1.54571109"],["45289.6","1.54560911"],["45290.2","0.15890660"],["45291.8","1.54553491"],["45294.7","0.04454749"],["45296.1","0.35380000"],["45297.5","0.09945542"],["45299.5","0.18772827"]]'  # noqa: E501
GUIDE_BIDS = '[["45283.5","0.10000000"],["45283.4","1.54582015"],["45282.1","0.10000000"],["45281.0","0.10000000"],["45280.3","1.54592586"],["45279.0","0.07990000"],["45277.6","0.03310103"],["45277.5","0.30000000"],["45277.3","1.54602737"],["45276.6","0.15445238"]]'  # noqa: E501
GUIDE_ASKS_TEXT = "45285210000045286415457195345286615457110945289615456091145290215890660452918154553491452947445474945296135380000452975994554245299518772827"  # noqa: E501
GUIDE_CHECKSUM = 3310070434
# websocket-v2: book (MATIC/USD, precisions 4 and 8), trailing zeros gone, as JSON numbers have none
PAGE_ASKS = '[["0.5668","4410.79769741"],["0.5669","4655.40412487"],["0.567","49844.89424998"],["0.5671","24306.41678"],["0.5672","29783.25223475"],["0.5673","57234.71239278"],["0.5674","45065.04744"],["0.5675","5912.76380354"],["0.5676","42514.92434778"],["0.5677","36304.0847022"]]'  # noqa: E501
PAGE_BIDS = '[["0.5666","4831.75496356"],["0.5665","6658.22734739"],["0.5664","18724.91513344"],["0.5663","11563.92544914"],["0.5662","14006.65365711"],["0.5661","17454.85679807"],["0.566","18097.1547"],["0.5659","33644.89175666"],["0.5658","148.3464"],["0.5657","606.70854372"]]'  # noqa: E501
PAGE_CHECKSUM, PAGE_NEXT = 2439117997, 2114181697


def decimals(text: str) -> list[DecimalLevel]:
    return [(Decimal(price), Decimal(size)) for price, size in json.loads(text)]


def test_the_sample_of_the_guide() -> None:
    book = ChecksumBook(10, 1, 8)
    change = book.load(decimals(GUIDE_BIDS), decimals(GUIDE_ASKS), GUIDE_CHECKSUM)
    assert change.fault == ""
    assert book.checksum() == GUIDE_CHECKSUM
    asks = [(scaled(price, 1), scaled(size, 8)) for price, size in decimals(GUIDE_ASKS)]
    assert "".join(f"{price}{size}" for price, size in asks) == GUIDE_ASKS_TEXT
    assert crc32(asks, []) == zlib.crc32(GUIDE_ASKS_TEXT.encode())


def test_the_sample_of_the_page_and_the_update_after_it() -> None:
    book = ChecksumBook(10, 4, 8)
    assert book.load(decimals(PAGE_BIDS), decimals(PAGE_ASKS), PAGE_CHECKSUM).fault == ""
    change = book.apply([(Decimal("0.5657"), Decimal("1098.3947558"))], [], PAGE_NEXT)
    assert change.fault == ""
    assert change.bids == [(0.5657, 1098.3947558)]
    assert book.levels()[0][-1] == (0.5657, 1098.3947558)


def test_a_wrong_checksum_is_a_fault() -> None:
    book = ChecksumBook(10, 4, 8)
    book.load(decimals(PAGE_BIDS), decimals(PAGE_ASKS), PAGE_CHECKSUM)
    assert book.apply([(Decimal("0.5657"), Decimal(1))], [], PAGE_NEXT).fault == "checksum"
    assert book.checked == 2


@pytest.mark.parametrize(
    ("text", "precision", "number"),
    [
        ("0.29", 2, 29),  # int(0.29 * 100) is 28
        ("1e-08", 8, 1),
        ("1E+2", 3, 100_000),
        ("40", 8, 4_000_000_000),
        ("0.567", 4, 5_670),
        ("0.00000000", 8, 0),
        ("1234567890.12345678", 8, 123_456_789_012_345_678),  # more digits than a float holds
    ],
)
def test_scaling_is_exact(text: str, precision: int, number: int) -> None:
    assert scaled(Decimal(text), precision) == number


@pytest.mark.parametrize(
    "text", ["0.123", "NaN", "Infinity", "-1", "1e999999", "1e-999999", "1e31"]
)
def test_what_does_not_fit_is_refused_at_once(text: str) -> None:
    with pytest.raises(NotScalable):
        scaled(Decimal(text), 2)


def test_a_number_that_does_not_fit_is_a_fault_of_the_book() -> None:
    book = ChecksumBook(10, 1, 8)
    assert book.load([(Decimal("1.25"), Decimal(1))], [], None).fault == "precision"


@pytest.mark.parametrize("bad", [(9, 1, 1), (10, -1, 1), (10, 1, 19)])
def test_nonsense_is_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChecksumBook(*bad)


def test_a_crossed_book_is_a_fault_even_without_a_checksum() -> None:
    one = Decimal(1)
    assert ChecksumBook(10, 0, 0).load([(one, one)], [(one, one)], None).fault == "crossed"


def test_levels_that_fall_out_of_scope_are_told_as_removed() -> None:
    book = ChecksumBook(10, 0, 0)
    bids = [(Decimal(price), Decimal(1)) for price in range(20, 10, -1)]
    book.load(bids, [], None)
    change = book.apply([(Decimal(21), Decimal(7))], [], None)
    assert change.bids == [(21.0, 7.0), (11.0, 0.0)]
    assert [price for price, _ in book.levels()[0]] == [float(price) for price in range(21, 11, -1)]


def test_one_price_may_occur_more_than_once() -> None:
    book = ChecksumBook(10, 0, 0)
    book.load([(Decimal(5), Decimal(1))], [], None)
    book.apply(
        [(Decimal(5), Decimal(0)), (Decimal(5), Decimal(3)), (Decimal(6), Decimal(0))], [], None
    )
    assert book.levels() == ([(5.0, 3.0)], [])


Update = tuple[list[tuple[int, int]], list[tuple[int, int]]]
changes = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=8)


def as_decimals(levels: list[tuple[int, int]], digits: int) -> list[DecimalLevel]:
    return [(Decimal(price).scaleb(-digits), Decimal(size)) for price, size in levels]


@given(
    depth=st.integers(10, 12),
    digits=st.integers(0, 3),
    updates=st.lists(st.tuples(changes, changes), max_size=15),
)
def test_a_copy_that_follows_the_changes_is_the_book_and_the_checksum_is_an_independent_one(
    depth: int, digits: int, updates: list[Update]
) -> None:
    """The model is the documented text procedure: format, strip, join, CRC."""
    book = ChecksumBook(depth, digits, 2)
    model: list[dict[int, int]] = [{}, {}]
    copy: list[dict[float, float]] = [{}, {}]
    book.load([], [], None)
    for bids, asks in updates:
        change = book.apply(as_decimals(bids, digits), as_decimals(asks, digits), None)
        for side, levels, best_first in ((0, bids, -1), (1, asks, 1)):
            for price, size in levels:
                model[side].pop(price, None)
                if size:
                    model[side][price] = size
            kept = sorted(model[side].items(), key=lambda level: level[0] * best_first)[:depth]
            model[side] = dict(kept)
        for mine, told in ((copy[0], change.bids), (copy[1], change.asks)):
            for at, new_size in told:
                mine.pop(at, None)
                if new_size:
                    mine[at] = new_size
    text = ""
    for side in (1, 0):
        for price, size in list(model[side].items())[:CHECKED_LEVELS]:
            for value, places in ((Decimal(price).scaleb(-digits), digits), (Decimal(size), 2)):
                text += f"{value:.{places}f}".replace(".", "").lstrip("0")
    assert book.checksum() == zlib.crc32(text.encode())
    told_bids, told_asks = book.levels()
    assert dict(told_bids) == copy[0]
    assert dict(told_asks) == copy[1]
    assert [list(dict(side)) for side in (told_bids, told_asks)] == [
        [price / 10**digits for price in model[side]] for side in (0, 1)
    ]


def test_floats_are_the_nearest_to_the_decimal() -> None:
    book = ChecksumBook(10, 4, 8)
    book.load(decimals(PAGE_BIDS), decimals(PAGE_ASKS), PAGE_CHECKSUM)
    plain: Any = json.loads(PAGE_ASKS)
    assert book.levels()[1] == [(float(price), float(size)) for price, size in plain]
