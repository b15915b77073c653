"""Listings, known and made up."""

from __future__ import annotations

import pytest

from bus.errors import ConfigError
from bus.simulator.instruments import crypto_instrument, dollar_instrument, stock_instrument


def test_known_symbols_have_the_venues_increments() -> None:
    bitcoin = crypto_instrument("BTCUSDT")
    assert (bitcoin.base, bitcoin.quote, bitcoin.tick_e8) == ("BTC", "USDT", 1_000_000)


def test_an_unknown_symbol_is_made_up_the_same_way_every_time() -> None:
    made = crypto_instrument("WOMBATUSDT")
    assert made == crypto_instrument("WOMBATUSDT")
    assert (made.base, made.quote) == ("WOMBAT", "USDT")
    assert made.start_e8 % made.tick_e8 == 0


@pytest.mark.parametrize("symbol", ["", "USDT", "btcusdt", "BTC-USDT", "BTCXYZ", "ÄUSDT"])
def test_what_is_no_crypto_symbol(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"simulator\.crypto_symbols"):
        crypto_instrument(symbol)


def test_an_unknown_stock_is_made_up() -> None:
    assert stock_instrument("BRK.B") == stock_instrument("BRK.B")
    assert 20 <= stock_instrument("ZZZ").start <= 420


@pytest.mark.parametrize("symbol", ["", "aapl", "TOOLONGG", "A1", "A.B.C"])
def test_what_is_no_stock(symbol: str) -> None:
    with pytest.raises(ConfigError, match=r"simulator\.stock_symbols"):
        stock_instrument(symbol)


def test_the_same_asset_in_dollars_keeps_to_its_venues_increment() -> None:
    leading = crypto_instrument("BTCUSDT")
    own = dollar_instrument(leading, "/", 10**7)
    assert (own.symbol, own.base, own.quote, own.tick_e8) == ("BTC/USD", "BTC", "USD", 10**7)
    assert own.start_e8 % 10**7 == 0
    assert own.start_e8 == pytest.approx(leading.start_e8)
    assert dollar_instrument(leading, "-").tick_e8 == leading.tick_e8
