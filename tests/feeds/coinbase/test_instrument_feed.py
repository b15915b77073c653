"""One Coinbase product: what its events become."""

from __future__ import annotations

import msgspec
import pytest

from bus.config import FeedSettings
from bus.feeds.coinbase.instrument_feed import InstrumentFeed
from bus.feeds.coinbase.parser import (
    HeartbeatEvent,
    MatchEvent,
    RestTrade,
    SnapshotEvent,
    TickerEvent,
    UpdateEvent,
    parse,
)
from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.feeds.skew import DelayMeter
from bus.model import Depth, Price, Quote, Trade
from tests.feeds.coinbase.test_parser import SNAPSHOT, TICKER, UPDATE
from tests.feeds.tap import Statuses, Tap, make_feed

TIME, TIME_NS = "2014-11-07T08:19:27.028459Z", 1415348367_028459000
TRADES, PRICE = "md/trades/sim/BTC-USD/", "md/price/sim/BTC-USD/"


def one() -> tuple[Tap, InstrumentFeed]:
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings(symbols=("BTC-USD",)), name="coinbase")
    return tap, InstrumentFeed(feed, Listed("BTC-USD", "BTC-USD"), lambda: None)


def match(
    trade_id: int, price: float = 400.0, side: str = "sell", kind: str = "match"
) -> MatchEvent:
    return MatchEvent(kind, "BTC-USD", trade_id, price, 2.0, side, TIME)  # type: ignore[arg-type]


@pytest.mark.parametrize(("maker", "aggressor"), [("sell", "buy"), ("buy", "sell")])
def test_the_aggressor_is_the_opposite_of_the_makers_side(maker: str, aggressor: str) -> None:
    tap, product = one()
    product.on_match(match(10, side=maker), 5)
    assert tap.bodies(TRADES) == [Trade(400.0, 2.0, aggressor, 10)]  # type: ignore[arg-type]
    assert tap.messages[0].venue_ts_ns == TIME_NS
    assert tap.bodies(PRICE) == [Price(400.0)]


def test_the_first_message_of_the_channel_is_not_published() -> None:
    tap, product = one()
    product.on_match(match(10, kind="last_match"), 5)
    product.on_match(match(11), 5)
    assert [trade.trade_id for trade in tap.bodies(TRADES)] == [11]
    assert product.trades.sequence.missing == ()


def test_after_a_reconnection_it_tells_what_was_missed() -> None:
    _, product = one()
    product.on_match(match(10), 5)
    product.restart()
    product.on_match(match(13, kind="last_match"), 5)
    assert product.trades.sequence.missing == ((11, 13),)


def test_a_fetched_trade_is_published_late_and_is_not_the_price() -> None:
    tap, product = one()
    product.on_match(match(10), 5)
    product.on_match(match(12, price=410.0), 5)
    product.on_fetched(RestTrade(11, 405.0, 2.0, "buy", TIME), 6)
    product.on_fetched(RestTrade(11, 405.0, 2.0, "buy", TIME), 6)
    assert [trade.trade_id for trade in tap.bodies(TRADES)] == [10, 12, 11]
    assert [price.price for price in tap.bodies(PRICE)] == [400.0, 410.0]
    assert product.trades.sequence.missing == ()


def test_a_heartbeat_finds_lost_trades_the_second_time() -> None:
    _, product = one()
    product.on_match(match(10), 5)
    for _ in range(2):
        product.on_heartbeat(HeartbeatEvent("BTC-USD", 1, 12, TIME), 5)
    assert product.trades.sequence.missing == ((11, 12),)


def test_a_ticker_is_a_ticker_and_the_reference_of_the_price() -> None:
    tap, product = one()
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    product.on_ticker(event, 5)
    (ticker,) = tap.bodies("md/ticker/sim/BTC-USD/")
    assert (ticker.last, ticker.open, ticker.high, ticker.low) == (
        1285.22,
        1310.79,
        1313.8,
        1280.52,
    )
    assert (ticker.bid_price, ticker.bid_size) == (1285.04, 0.46688654)
    assert (ticker.change, ticker.volume) == (-25.57, 245532.79269678)
    assert ticker.change_percent == pytest.approx(-1.950732)
    assert tap.bodies(PRICE)[-1].change == -25.57


def test_an_older_ticker_is_dropped() -> None:
    tap, product = one()
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    product.on_ticker(event, 5)
    product.on_ticker(msgspec.structs.replace(event, sequence=event.sequence - 1), 5)
    assert len(tap.bodies("md/ticker/sim/BTC-USD/")) == 1
    product.restart()
    product.on_ticker(event, 5)
    assert len(tap.bodies("md/ticker/sim/BTC-USD/")) == 2


def test_an_empty_side_is_none() -> None:
    tap, product = one()
    product.on_ticker(TickerEvent("BTC-USD", 1.0, 1, best_bid=0.0, best_bid_size=0.0), 5)
    (ticker,) = tap.bodies("md/ticker/sim/BTC-USD/")
    assert (ticker.bid_price, ticker.bid_size, ticker.ask_price) == (None, None, None)


def test_quotes_are_the_top_of_the_book_and_no_tickers() -> None:
    tap, product = one()
    product.book.start("book_sync")
    product.on_snapshot(SnapshotEvent("BTC-USD", [(99.0, 1.0)], [(101.0, 2.0)]), 5, 0)
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    product.on_ticker(event, 5)
    product.on_update(UpdateEvent("BTC-USD", [("buy", 98.0, 5.0)], TIME), 6)  # not the top
    product.on_update(UpdateEvent("BTC-USD", [("buy", 100.0, 3.0)], TIME), 7)
    product.on_update(UpdateEvent("BTC-USD", [("sell", 101.0, 0.0)], TIME), 8)
    assert tap.bodies("md/quote/sim/BTC-USD/") == [
        Quote(99.0, 1.0, 101.0, 2.0, 1),
        Quote(100.0, 3.0, 101.0, 2.0, 3),
        Quote(100.0, 3.0, None, None, 4),
    ]
    quotes = [m for m in tap.messages if m.topic == "md/quote/sim/BTC-USD/"]
    assert [(m.venue_ts_ns, m.recv_ts_ns) for m in quotes] == [
        (None, 5),
        (TIME_NS, 7),
        (TIME_NS, 8),
    ]
    books = {body.venue_seq: body for body in tap.bodies("md/orderbook/sim/BTC-USD/")}
    for quote in tap.bodies("md/quote/sim/BTC-USD/"):  # the same numbers mean the same book
        assert books[quote.venue_seq].bids[0] == (quote.bid_price, quote.bid_size)


def test_the_delays_of_what_is_new_are_noted_and_no_others() -> None:
    feed = make_feed(Tap(), Statuses(), FeedSettings(symbols=("BTC-USD",)), name="coinbase")
    delays = DelayMeter()
    product = InstrumentFeed(feed, Listed("BTC-USD", "BTC-USD"), lambda: None, delays)
    product.on_match(match(1, kind="last_match"), TIME_NS)
    product.on_fetched(RestTrade(1, 405.0, 2.0, "buy", TIME), TIME_NS)
    assert delays.take() is None
    product.on_match(match(2), TIME_NS + 3)
    product.on_heartbeat(HeartbeatEvent("BTC-USD", 1, 2, TIME), TIME_NS + 9)
    product.on_update(UpdateEvent("BTC-USD", [], TIME), TIME_NS - 2)
    assert delays.take() == (-2, 9)


def test_a_snapshot_and_updates_are_depth() -> None:
    tap, product = one()
    product.book.start("book_sync")
    snapshot, update = parse(SNAPSHOT), parse(UPDATE)
    assert isinstance(snapshot, SnapshotEvent)
    assert isinstance(update, UpdateEvent)
    product.on_snapshot(snapshot, 5, 0)
    product.on_update(UpdateEvent("BTC-USD", [("sell", 10102.55, 0.0), ("buy", 9.0, 1.0)], TIME), 6)
    assert tap.bodies("md/depth/sim/BTC-USD/") == [
        Depth(1, 1, [(10101.1, 0.4505414)], [(10102.55, 0.57753524)], True),
        Depth(2, 2, [(9.0, 1.0)], [(10102.55, 0.0)], False),
    ]


def test_a_bad_time_is_malformed_and_publishes_nothing() -> None:
    tap, product = one()
    with pytest.raises(ParseError):
        product.on_match(msgspec.structs.replace(match(1), time="soon"), 5)
    assert not tap.messages
