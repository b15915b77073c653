"""Kraken's pairs."""

from __future__ import annotations

from bus.feeds.kraken.parser import Pair
from bus.feeds.kraken.symbols import guess, listed
from bus.feeds.listing import Listed
from bus.model import Instrument


def test_a_slash_there_is_a_dash_here() -> None:
    assert guess("BTC-USD") == Listed("BTC-USD", "BTC/USD")


def test_pairs_with_state_and_decimals() -> None:
    pair = Pair(
        symbol="BTC/USD",
        status="online",
        price_precision=1,
        qty_precision=8,
        base="BTC",
        quote="USD",
        price_increment=0.1,
        qty_increment=1e-08,
        qty_min=0.0001,
        cost_min=0.5,
    )
    shut = Pair(symbol="X/EUR", status="cancel_only", price_precision=5, qty_precision=2)
    found = listed([pair, shut])
    assert found["BTC-USD"] == Listed(
        "BTC-USD",
        "BTC/USD",
        True,
        1,
        8,
        Instrument("BTC", "USD", "spot", "trading", "BTC/USD", 0.1, 1e-08, 0.0001, 0.5),
    )
    assert not found["X-EUR"].trading
    assert found["X-EUR"].described == Instrument(
        kind="spot", status="cancel_only", venue_symbol="X/EUR"
    )
