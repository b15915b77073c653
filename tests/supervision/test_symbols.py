"""Symbols that change while a feed runs."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bus.config import load
from bus.supervision.symbols import (
    MOST_SYMBOLS,
    lines_to_keep,
    published_elsewhere,
    reported_symbols,
    with_symbols,
)


def test_two_feeds_may_not_publish_one_topic() -> None:
    """Simulated, every feed publishes under one label; live, each under its venue's."""
    (refused,) = published_elsewhere(load(), "finnhub", ["btc-usdt", "AMZN"])
    assert refused["symbol"] == "btc-usdt"
    assert refused["reason"] == "the feed binance publishes sim/BTC-USDT"
    assert not published_elsewhere(load(None, ["mode=live"]), "finnhub", ["BTC-USDT"])
    assert not published_elsewhere(
        load(None, ["feeds.binance.enabled=false"]), "finnhub", ["BTC-USDT"]
    )
    assert not published_elsewhere(load(), "binance", ["BTC-USDT"])


def test_the_settings_take_the_new_list_and_keep_the_rest() -> None:
    before = load()
    after = with_symbols(before, "binance", ["A-B"])
    assert after.feeds["binance"].symbols == ("A-B",)
    assert after.feeds["finnhub"] == before.feeds["finnhub"]
    assert before.feeds["binance"].symbols != ("A-B",)


@pytest.mark.parametrize(
    ("result", "symbols"),
    [
        ({"symbols": ["A", "B", "A"]}, ("A", "B")),
        ({"symbols": []}, ()),
        ({}, None),
        ({"symbols": "A"}, None),
        ({"symbols": ["A", 1]}, None),
        ({"symbols": [""]}, None),
        ({"symbols": ["A"] * (MOST_SYMBOLS + 1)}, None),
    ],
    ids=str,
)
def test_a_feeds_word_is_taken_only_when_it_is_a_list(
    result: dict[str, Any], symbols: tuple[str, ...] | None
) -> None:
    assert reported_symbols(result) == symbols


def test_the_lines_to_keep_are_settings() -> None:
    text = lines_to_keep("binance", ["BTC-USDT", 'odd"one'])
    assert tomllib.loads(text) == {"feeds": {"binance": {"symbols": ["BTC-USDT", 'odd"one']}}}
