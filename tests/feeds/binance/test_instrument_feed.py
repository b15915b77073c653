"""Each event becomes the ticks it should, once, and never steps back."""

from __future__ import annotations

from typing import Any

from bus.config import FeedSettings
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import BookTickerEvent, DepthEvent, TickerEvent, TradeEvent
from bus.feeds.feed import Feed
from bus.feeds.listing import Listed
from bus.model import Depth, Price, Quote, Ticker, Trade
from tests.feeds.tap import Statuses, Tap, make_feed


def one() -> tuple[Tap, Feed, InstrumentFeed]:
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings())
    return tap, feed, InstrumentFeed(feed, Listed("BTC-USDT", "BTCUSDT"), lambda: None)


def ticker(**fields: Any) -> TickerEvent:
    values: dict[str, Any] = {
        "event_ms": 5,
        "change": 1.0,
        "change_percent": 1.0,
        "last": 101.0,
        "open": 100.0,
        "high": 103.0,
        "low": 99.0,
        "volume": 7.0,
        "quote_volume": 700.0,
        "bid_price": 100.5,
        "bid_size": 1.0,
        "ask_price": 101.5,
        "ask_size": 2.0,
        "open_ms": 1,
        "close_ms": 4,
        "trade_count": 9,
    }
    return TickerEvent(**{**values, **fields})


def test_the_maker_who_bought_means_an_aggressor_who_sold() -> None:
    tap, _, symbol = one()
    symbol.on_trade(TradeEvent(1.0, 2.0, 7, 3, True), 9)
    symbol.on_trade(TradeEvent(1.0, 2.0, 8, 3, False), 9)
    trades = tap.bodies("md/trades/sim/BTC-USDT/")
    assert trades == [Trade(1.0, 2.0, "sell", 7), Trade(1.0, 2.0, "buy", 8)]
    assert tap.messages[0].venue_ts_ns == 3_000_000


def test_a_trade_that_comes_twice_is_published_once_and_counted() -> None:
    tap, feed, symbol = one()
    for trade_id in (6, 8, 6, 7, 7):  # 7 came late; at first it is no repeat
        symbol.on_trade(TradeEvent(float(trade_id), 2.0, trade_id, 3, True), 9)
    assert [body.trade_id for body in tap.bodies("md/trades/sim/BTC-USDT/")] == [6, 8, 7]
    assert [body.price for body in tap.bodies("md/price/sim/BTC-USDT/")] == [6.0, 8.0]
    assert feed.counters.duplicates == 2


def test_a_quote_has_no_time_and_an_empty_side_is_none() -> None:
    tap, _, symbol = one()
    symbol.on_quote(BookTickerEvent(5, 1.0, 2.0, 0.0, 0.0), 9)
    assert tap.messages[0].body == Quote(1.0, 2.0, None, None, 5)
    assert tap.messages[0].venue_ts_ns is None


def test_a_one_sided_quote_is_no_measure_for_a_book() -> None:
    _, _, symbol = one()
    symbol.book.start("book_sync")
    symbol.on_depth(DepthEvent(3, 11, 11, [], []), 1)
    symbol.book.on_snapshot(10, [(1.0, 1.0)], [], 1, 0)
    symbol.on_quote(BookTickerEvent(12, 1.0, 1.0, 0.0, 0.0), 9)
    symbol.on_depth(DepthEvent(3, 12, 12, [], []), 1)
    assert (symbol.book.audit_ok, symbol.book.audit_mismatch) == (0, 0)


def test_an_older_quote_is_not_published() -> None:
    tap, feed, symbol = one()
    for update_id in (5, 5, 4, 6):
        symbol.on_quote(BookTickerEvent(update_id, 1.0, 2.0, 3.0, 4.0), 9)
    assert [body.venue_seq for body in tap.bodies("md/quote/sim/BTC-USDT/")] == [5, 6]
    assert feed.counters.duplicates == 2


def test_a_ticker_is_a_ticker_and_the_reference_of_prices() -> None:
    tap, _, symbol = one()
    symbol.on_ticker(ticker(), 9)
    symbol.on_ticker(ticker(), 9)  # again: dropped
    symbol.on_trade(TradeEvent(105.0, 1.0, 1, 6, True), 10)
    assert tap.bodies("md/ticker/sim/BTC-USDT/") == [
        Ticker(
            101.0, 100.0, 103.0, 99.0, 1.0, 1.0, 7.0, 700.0, 100.5, 1.0, 101.5, 2.0, 9,
            1_000_000, 4_000_000,
        )
    ]  # fmt: skip
    prices = tap.bodies("md/price/sim/BTC-USDT/")
    assert prices == [Price(101.0, 1.0, 1.0, 7.0), Price(105.0, 5.0, 5.0, 7.0)]


def test_a_venue_whose_clock_is_set_back_keeps_its_tickers() -> None:
    tap, _, symbol = one()
    symbol.on_ticker(ticker(event_ms=5_000), 9)
    symbol.on_ticker(ticker(event_ms=4_000, last=102.0), 9)
    assert len(tap.bodies("md/ticker/sim/BTC-USDT/")) == 2


def test_a_diff_remembers_when_it_came_while_it_waits() -> None:
    tap, _, symbol = one()
    symbol.book.start("connected")
    symbol.on_depth(DepthEvent(3, 11, 11, [], []), 1234)
    symbol.book.on_snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)], 5678, 0)
    delta = [m for m in tap.messages if isinstance(m.body, Depth)][-1]
    assert (delta.recv_ts_ns, delta.venue_ts_ns) == (1234, 3_000_000)


def test_a_new_connection_forgets_quotes_and_remembers_trades() -> None:
    tap, _, symbol = one()
    symbol.on_trade(TradeEvent(1.0, 2.0, 7, 3, True), 9)
    symbol.on_quote(BookTickerEvent(5, 1.0, 2.0, 3.0, 4.0), 9)
    symbol.restart()
    symbol.on_trade(TradeEvent(1.0, 2.0, 7, 3, True), 9)
    symbol.on_trade(TradeEvent(1.0, 2.0, 10, 3, True), 9)
    symbol.on_quote(BookTickerEvent(1, 1.0, 2.0, 3.0, 4.0), 9)
    assert [body.trade_id for body in tap.bodies("md/trades/sim/BTC-USDT/")] == [7, 10]
    assert symbol.trades.sequence.missing == ((8, 9),)
    assert len(tap.bodies("md/quote/sim/BTC-USDT/")) == 2


def test_a_venue_that_counts_afresh_is_believed() -> None:
    """A test network whose state is reset begins at small ids, later."""
    tap, _, symbol = one()
    for trade_id, ms in ((900, 5_000), (903, 5_001), (1, 9_000), (2, 9_000)):
        symbol.on_trade(TradeEvent(float(trade_id), 2.0, trade_id, ms, True), 9)
    assert [body.trade_id for body in tap.bodies("md/trades/sim/BTC-USDT/")] == [900, 903, 1, 2]
    assert [body.price for body in tap.bodies("md/price/sim/BTC-USDT/")] == [900, 903, 1, 2]
    losses = symbol.trades.losses()
    assert (losses.lost, symbol.trades.sequence.missing) == (2, ())


def test_a_ticker_tells_of_trades_that_did_not_come() -> None:
    _, _, symbol = one()
    symbol.on_trade(TradeEvent(1.0, 2.0, 7, 3, True), 9)
    symbol.on_ticker(ticker(event_ms=1_000, last_trade_id=9), 9)
    assert list(symbol.trades.sequence.missing) == [], "they may be on their way"
    symbol.on_ticker(ticker(event_ms=2_000, last_trade_id=9), 9)
    assert list(symbol.trades.sequence.missing) == [(8, 9)]


def test_what_a_ticker_of_another_connection_told_is_no_evidence() -> None:
    _, _, symbol = one()
    symbol.on_trade(TradeEvent(1.0, 2.0, 7, 3, True), 9)
    symbol.on_ticker(ticker(event_ms=1_000, last_trade_id=9), 9)
    symbol.restart()
    symbol.on_ticker(ticker(event_ms=2_000, last_trade_id=9), 9)
    assert symbol.trades.sequence.missing == ()


def test_a_window_without_trades_names_none() -> None:
    _, _, symbol = one()
    for second in (1, 2, 3):
        symbol.on_ticker(ticker(event_ms=1_000 * second, last_trade_id=-1), 9)
    assert not symbol.trades.sequence.begun


def test_a_halted_instrument_is_closed() -> None:
    feed = make_feed(Tap(), Statuses(), FeedSettings())
    symbol = InstrumentFeed(feed, Listed("A-B", "AB", False), lambda: None)
    assert symbol.facts.market_closed
