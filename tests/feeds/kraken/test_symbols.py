"""Kraken's pairs."""

from __future__ import annotations

from bus.feeds.kraken.parser import Pair
from bus.feeds.kraken.symbols import guess, listed
from bus.feeds.listing import Listed


def test_a_slash_there_is_a_dash_here() -> None:
    assert guess("BTC-USD") == Listed("BTC-USD", "BTC/USD")


def test_pairs_with_state_and_decimals() -> None:
    found = listed([Pair("BTC/USD", "online", 1, 8), Pair("X/EUR", "cancel_only", 5, 2)])
    assert found == {
        "BTC-USD": Listed("BTC-USD", "BTC/USD", True, 1, 8),
        "X-EUR": Listed("X-EUR", "X/EUR", False, 5, 2),
    }
