"""Prices carry their change, from the moment the reference is known."""

from __future__ import annotations

import pytest

from bus.config.venues import streams_of
from bus.feeds.handler import SymbolTicks
from bus.model import Instrument, Price, Quote, Ticker, Trade
from tests.feeds.tap import Tap

PRICE = "md/price/sim/BTC-USDT/"


def ticks() -> tuple[Tap, SymbolTicks]:
    tap = Tap()
    return tap, SymbolTicks(tap.as_publisher(), "sim", "BTC-USDT")


def test_a_trade_is_a_trade_and_a_price() -> None:
    tap, symbol = ticks()
    symbol.trade(100.0, 0.5, "sell", 7, 11, 22)
    assert [(m.topic, m.body, m.venue_ts_ns, m.recv_ts_ns) for m in tap.messages] == [
        ("md/trades/sim/BTC-USDT/", Trade(100.0, 0.5, "sell", 7), 11, 22),
        (PRICE, Price(100.0, None, None, None), 11, 22),
    ]


def test_every_trade_recomputes_the_change_from_the_open() -> None:
    tap, symbol = ticks()
    symbol.ticker(Ticker(last=100.0, open=80.0, volume=9.0, close_ts_ns=10), 10, 10)
    symbol.trade(100.3, 1.0, "buy", 1, 20, 20)
    symbol.trade(79.9, 1.0, "buy", 2, 30, 30)
    assert tap.bodies(PRICE) == [
        Price(100.0, 20.0, 25.0, 9.0),
        Price(100.3, 20.3, 25.375, 9.0),
        Price(79.9, -0.1, -0.125, 9.0),
    ]


def test_a_ticker_older_than_the_last_trade_does_not_step_back() -> None:
    tap, symbol = ticks()
    symbol.trade(101.0, 1.0, "buy", 1, 50, 50)
    symbol.ticker(Ticker(last=100.0, open=50.0, volume=9.0, close_ts_ns=40), 41, 55)
    assert tap.bodies(PRICE)[-1] == Price(101.0, 51.0, 102.0, 9.0)
    assert tap.messages[-1].venue_ts_ns == 50


def test_an_open_of_zero_gives_no_change() -> None:
    tap, symbol = ticks()
    symbol.ticker(Ticker(last=100.0, open=0.0), 10, 10)
    assert tap.bodies(PRICE) == [Price(100.0, None, None, None)]


def test_a_reference_of_its_own_counts_more_than_the_open() -> None:
    tap, symbol = ticks()
    symbol.ticker(Ticker(last=110.0, open=50.0), 10, 10, reference=100.0)
    assert tap.bodies(PRICE) == [Price(110.0, 10.0, 10.0, None)]


def test_a_quote() -> None:
    tap, symbol = ticks()
    symbol.quote(Quote(1.0, 2.0, 3.0, 4.0, 5), None, 9)
    assert tap.bodies("md/quote/sim/BTC-USDT/") == [Quote(1.0, 2.0, 3.0, 4.0, 5)]


def test_a_trade_that_comes_late_is_published_and_does_not_set_the_price_back() -> None:
    tap = Tap()
    ticks = SymbolTicks(tap.as_publisher(), "sim", "AAPL")
    for price, venue_ts_ns in ((1.0, 10), (2.0, 30), (3.0, 20), (4.0, 30), (5.0, 31)):
        ticks.trade(price, 1.0, None, None, venue_ts_ns, 100)
    trades = [m for m in tap.messages if m.topic == "md/trades/sim/AAPL/"]
    assert [m.body.price for m in trades] == [1.0, 2.0, 3.0, 4.0, 5.0]  # type: ignore[union-attr]
    assert [m.venue_ts_ns for m in trades] == [10, 30, 20, 30, 31]  # in received order, own times
    assert [body.price for body in tap.bodies("md/price/sim/AAPL/")] == [1.0, 2.0, 4.0, 5.0]


def test_a_venue_whose_clock_was_set_back_has_prices_again_after_a_while() -> None:
    tap = Tap()
    ticks = SymbolTicks(tap.as_publisher(), "sim", "AAPL")
    ticks.trade(1.0, 1.0, None, None, 10**12, 0)
    ticks.trade(2.0, 1.0, None, None, 5, 299 * 10**9)
    ticks.trade(3.0, 1.0, None, None, 6, 300 * 10**9)
    ticks.trade(4.0, 1.0, None, None, 7, 300 * 10**9)
    assert [body.price for body in tap.bodies("md/price/sim/AAPL/")] == [1.0, 3.0, 4.0]


def test_an_instrument_is_published_when_it_is_news() -> None:
    tap = Tap()
    ticks = SymbolTicks(tap.as_publisher(), "sim", "AAPL")
    for status in ("trading", "trading", "halted"):
        ticks.instrument(Instrument(status=status), 1)
    assert [body.status for body in tap.bodies("md/instrument/sim/AAPL/")] == ["trading", "halted"]


def test_a_stream_that_the_venue_does_not_serve_cannot_be_published() -> None:
    tap = Tap()
    symbol = SymbolTicks(tap.as_publisher(), "sim", "AAPL", streams_of("finnhub"))
    symbol.trade(100.0, 0.5, None, None, 11, 22)
    symbol.ticker(Ticker(last=100.0, close_ts_ns=10), 10, 10)
    with pytest.raises(AssertionError, match="serves no quote"):
        symbol.quote(Quote(1.0, 1.0, 2.0, 1.0), 11, 22)
    assert {m.topic.split("/")[1] for m in tap.messages} <= set(streams_of("finnhub"))
