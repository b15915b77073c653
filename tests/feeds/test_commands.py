"""Arguments of commands are checked, and answers have one shape."""

from __future__ import annotations

import pytest

from bus.feeds.commands import (
    MAX_SYMBOLS,
    Refusal,
    rotation_answer,
    symbols_answer,
    symbols_argument,
)
from bus.feeds.errors import CommandRefused


def test_repeats_are_left_out() -> None:
    assert symbols_argument({"symbols": ["A", "B", "A"]}) == ["A", "B"]


@pytest.mark.parametrize("symbols", [None, [], "A", [1], [""], ["A"] * (MAX_SYMBOLS + 1), {"A": 1}])
def test_anything_else_is_refused_in_one_sentence(symbols: object) -> None:
    with pytest.raises(CommandRefused):
        symbols_argument({"symbols": symbols})


def test_answers() -> None:
    refused = Refusal("BTC-USDC", "the venue lists no BTC-USDC", ["BTC-USDT"])
    assert symbols_answer(["A"], [refused]) == {
        "symbols": ["A"],
        "refused": [
            {
                "symbol": "BTC-USDC",
                "reason": "the venue lists no BTC-USDC",
                "nearest": ["BTC-USDT"],
            }
        ],
    }
    assert rotation_answer(2, 1.23456, 7) == {
        "connections": 2,
        "seconds": 1.235,
        "duplicates_dropped": 7,
    }
