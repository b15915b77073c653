"""Patterns of topics: what is one, and what it covers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config.patterns import MAX_PATTERN_CHARS, Pattern, read_pattern, stream_named


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("price.BTC", Pattern("price", "BTC", "")),
        ("Price.btc@SIM", Pattern("price", "BTC", "sim")),
        ("book.*", Pattern("orderbook", "*", "*")),
        ("*.*", Pattern("*", "*", "*")),
        ("price.*@sim", Pattern("price", "*", "sim")),
        ("trade.BRK.B", Pattern("trades", "BRK.B", "")),
    ],
)
def test_what_a_pattern_means(text: str, pattern: Pattern) -> None:
    assert read_pattern(text) == pattern


@pytest.mark.parametrize(
    "text", ["", "price", "price.", ".BTC", "prize.BTC", "pri*.BTC", "price.B*", "price.BTC@"]
)
def test_what_is_none(text: str) -> None:
    assert read_pattern(text) is None


@given(st.text() | st.text("price.*@BTC", max_size=20))
def test_any_text_is_a_pattern_that_covers_itself_or_none(text: str) -> None:
    found = read_pattern(text)
    assert found is None or found.covers(found)
    assert read_pattern("price.".ljust(MAX_PATTERN_CHARS + 1, "X")) is None


def test_streams_go_by_their_old_names_too() -> None:
    words = ("Trades", "trade", "book", "depth", "news", "status")
    assert [stream_named(word) for word in words] == [
        "trades", "trades", "orderbook", "orderbook", "news", None,
    ]  # fmt: skip
