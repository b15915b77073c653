"""A size of 0 is a price and no trade; changes count from the previous close."""

from __future__ import annotations

from bus.config import FeedSettings
from bus.feeds.finnhub.instrument_feed import InstrumentFeed
from bus.feeds.finnhub.parser import Quote, TradeItem
from bus.feeds.finnhub.symbols import Instrument
from bus.model import Price, Ticker, Trade
from tests.feeds.tap import Statuses, Tap, make_feed

PRICE, TRADES = "md/price/sim/AAPL/", "md/trades/sim/AAPL/"


def one() -> tuple[Tap, InstrumentFeed]:
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings(), name="finnhub")
    return tap, InstrumentFeed(feed, Instrument("AAPL", "AAPL"))


def test_a_trade_has_neither_side_nor_id() -> None:
    tap, symbol = one()
    symbol.on_trade(TradeItem("AAPL", 129.58, 1672348887666, 3.0), 9)
    assert tap.bodies(TRADES) == [Trade(129.58, 3.0, None, None)]
    assert tap.bodies(PRICE) == [Price(129.58, None, None, None)]
    assert tap.messages[0].venue_ts_ns == 1672348887666 * 1_000_000


def test_equal_trades_are_two_trades() -> None:
    tap, symbol = one()
    for _ in range(2):
        symbol.on_trade(TradeItem("AAPL", 129.58, 1, 4.0), 9)
    assert len(tap.bodies(TRADES)) == 2


def test_a_size_of_zero_is_a_price_only() -> None:
    tap, symbol = one()
    symbol.on_trade(TradeItem("AAPL", 129.58, 1, 0.0), 9)
    assert tap.bodies(TRADES) == []
    assert tap.bodies(PRICE) == [Price(129.58, None, None, None)]


def test_the_days_figures_and_the_previous_close() -> None:
    tap, symbol = one()
    symbol.on_rest_quote(Quote(110.0, 112.0, 99.0, 101.0, 100.0, 10.0, 10.0, 5), 9)
    symbol.on_trade(TradeItem("AAPL", 105.0, 6_000, 1.0), 10)
    assert tap.bodies("md/ticker/sim/AAPL/") == [
        Ticker(110.0, 101.0, 112.0, 99.0, 10.0, 10.0, close_ts_ns=5_000_000_000)
    ]
    assert tap.bodies(PRICE) == [Price(110.0, 10.0, 10.0, None), Price(105.0, 5.0, 5.0, None)]


def test_a_quote_of_zeros_is_no_quote() -> None:
    tap, symbol = one()
    symbol.on_rest_quote(Quote(0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0), 9)
    assert tap.messages == []
