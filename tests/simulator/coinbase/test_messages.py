"""Coinbase's payloads: the documented fields in the documented order."""

from __future__ import annotations

import json

import pytest

from bus.simulator.coinbase import messages
from bus.simulator.instruments import E8, crypto_instrument, dollar_instrument
from bus.simulator.ladder import Diff
from bus.simulator.market import Quote, Trade
from bus.simulator.stats import Window

BTC = dollar_instrument(crypto_instrument("BTCUSDT"), "-")
AT_NS = 1415348367_028459000
TRADE = Trade(10, 40_023_000_000, 523_512_000, AT_NS, buyer_is_maker=False)
QUOTE = Quote(7, 40_000_000_000, 5 * E8, 40_100_000_000, 6 * E8)
WINDOW = Window(0, AT_NS, 1, 39_000_000_000, 41_000_000_000, 38_000_000_000, 40_023_000_000,
                523_512_000, 99 * E8, 1, 1, 10, 10)  # fmt: skip


def test_a_match_is_the_documented_one() -> None:
    message = json.loads(messages.match(BTC, TRADE, 50, 0))
    assert list(message) == ["type", "trade_id", "sequence", "maker_order_id", "taker_order_id",
                             "time", "product_id", "size", "price", "side"]  # fmt: skip
    assert message["time"] == "2014-11-07T08:19:27.028459Z"
    assert (message["size"], message["price"]) == ("5.23512000", "400.23")
    assert [len(part) for part in message["maker_order_id"].split("-")] == [8, 4, 4, 4, 12]


@pytest.mark.parametrize(("buyer_is_maker", "side"), [(True, "buy"), (False, "sell")])
def test_the_side_of_a_match_is_the_makers_and_of_a_ticker_the_takers(
    buyer_is_maker: bool, side: str
) -> None:
    trade = Trade(10, E8, E8, AT_NS, buyer_is_maker)
    assert json.loads(messages.match(BTC, trade, 1, 0))["side"] == side
    ticker = json.loads(messages.ticker(BTC, trade, QUOTE, WINDOW, 1, 0))
    assert ticker["side"] != side


def test_a_ticker_is_the_documented_one() -> None:
    message = json.loads(messages.ticker(BTC, TRADE, QUOTE, WINDOW, 37475248783, 0))
    assert list(message) == [
        "type", "sequence", "product_id", "price", "open_24h", "volume_24h", "low_24h", "high_24h",
        "volume_30d", "best_bid", "best_bid_size", "best_ask", "best_ask_size", "side", "time",
        "trade_id", "last_size",
    ]  # fmt: skip
    assert message["open_24h"] == "390.00"
    assert message["best_bid_size"] == "5.00000000"


def test_a_heartbeat_is_the_documented_one() -> None:
    assert messages.heartbeat("BTC-USD", 90, 20, 1415348368_464459000) == (
        b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD",'
        b'"time":"2014-11-07T08:19:28.464459Z"}'
    )


def test_a_book_is_the_documented_one() -> None:
    assert messages.snapshot(BTC, [(1_010_110_000_000, 45_054_140)], [(1_010_255_000_000, E8)]) == (
        b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],'
        b'"asks":[["10102.55","1.00000000"]]}'
    )
    diff = Diff(1, 2, ((2_235_627_000_000, 0), (2_235_630_000_000, E8)), ())
    assert messages.l2update(BTC, diff, 1659626705_010758000) == (
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","22356.270000","0.00000000"],'
        b'["buy","22356.300000","1.00000000"]],"time":"2022-08-04T15:25:05.010758Z"}'
    )


def test_products_tell_their_increments() -> None:
    listed = messages.product(BTC)
    assert (listed["id"], listed["quote_increment"], listed["base_increment"]) == (
        "BTC-USD",
        "0.01",
        "0.00001",
    )
    assert json.loads(messages.status([BTC]))["products"] == [listed]


def test_whole_numbers_have_no_point() -> None:
    whole = dollar_instrument(crypto_instrument("BTCUSDT"), "-", E8)
    assert messages.price_text(5 * E8, whole) == "5"
