"""A symbol is refused only where a list that would hold it was read."""

from __future__ import annotations

from bus.feeds.finnhub.directory import Directory
from bus.feeds.finnhub.parser import ListedSymbol

US = "/api/v1/stock/symbol", "US"


def test_each_list_is_read_once() -> None:
    wanted = Directory().wanted(["AAPL", "MSFT", "BINANCE:BTCUSDT", "BINANCE:X", "VOD.L"])
    assert wanted == [
        US,
        ("/api/v1/crypto/symbol", "BINANCE"),
        ("/api/v1/forex/symbol", "BINANCE"),
    ]


def test_without_a_list_nothing_is_unknown() -> None:
    directory = Directory()
    directory.take("US", [])
    assert not directory.is_unknown("AAPL")
    assert directory.nearest("AAPL") == []
    assert directory.listed("AAPL") is None


def test_a_misspelt_symbol_is_unknown_and_others_are_near() -> None:
    directory = Directory()
    directory.take("US", [ListedSymbol("AAPL"), ListedSymbol("GOOGL")])
    assert directory.is_unknown("GOGLE")
    assert directory.nearest("GOGLE") == ["GOOGL"]
    assert not directory.is_unknown("AAPL")
    assert not directory.is_unknown("VOD.L")  # of another exchange: there is no telling
    assert not directory.is_unknown("OANDA:EUR_USD")


def test_a_pair_is_in_the_crypto_or_the_forex_list_of_its_exchange() -> None:
    directory = Directory()
    pair = ListedSymbol("BINANCE:BTCUSDT", "BTC/USDT")
    directory.take("BINANCE", [pair])
    directory.take("BINANCE", [])
    assert directory.listed("BINANCE:BTCUSDT") == pair
    assert directory.is_unknown("BINANCE:BTCUSDX")
