"""Kraken's payloads: the documented fields, numbers as numbers, and the checksum."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from bus.simulator.instruments import E8, crypto_instrument, dollar_instrument
from bus.simulator.kraken import messages
from bus.simulator.market import Quote, Trade
from bus.simulator.stats import Window
from tests.book.test_checksum import (
    GUIDE_ASKS,
    GUIDE_BIDS,
    GUIDE_CHECKSUM,
    PAGE_ASKS,
    PAGE_BIDS,
    PAGE_CHECKSUM,
    decimals,
)

BTC = dollar_instrument(crypto_instrument("BTCUSDT"), "/", E8 // 10)
AT_NS = 1696613755_440295000


def e8(text: str) -> list[tuple[int, int]]:
    return [(int(price * E8), int(size * E8)) for price, size in decimals(text)]


@pytest.mark.parametrize(
    ("asks", "bids", "precision", "crc"),
    [
        (GUIDE_ASKS, GUIDE_BIDS, 1, GUIDE_CHECKSUM),
        (PAGE_ASKS, PAGE_BIDS, 4, PAGE_CHECKSUM),
    ],
)
def test_the_checksum_is_that_of_both_published_samples(
    asks: str, bids: str, precision: int, crc: int
) -> None:
    assert messages.checksum(e8(bids), e8(asks), precision) == crc


@pytest.mark.parametrize(
    ("value_e8", "places", "text"),
    [(4_528_520_000_000, 1, "45285.2"), (100_000, 8, "0.001"), (0, 8, "0.0"),
     (4_528_500_000_000, 1, "45285.0"), (-17_000, 5, "-0.00017")],
)  # fmt: skip
def test_numbers_are_plain_and_lose_nothing(value_e8: int, places: int, text: str) -> None:
    assert messages.number(value_e8, places) == text
    assert Decimal(text) == Decimal(value_e8) / E8


def test_a_book_update_is_the_documented_one() -> None:
    message = messages.book(BTC, "update", [(56_570_000_000, 0)], [], 2114181697, AT_NS)
    assert message == (
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",'
        b'"bids":[{"price":565.7,"qty":0.0}],"asks":[],"checksum":2114181697,'
        b'"timestamp":"2023-10-06T17:35:55.440295Z"}]}'
    )
    snapshot = json.loads(messages.book(BTC, "snapshot", [], [], 0, AT_NS))
    assert "timestamp" not in snapshot["data"][0]


@pytest.mark.parametrize(("buyer_is_maker", "side"), [(True, "sell"), (False, "buy")])
def test_the_side_of_a_trade_is_the_takers(buyer_is_maker: bool, side: str) -> None:
    trade = Trade(4665906, E8, 40 * E8, AT_NS, buyer_is_maker)
    (row,) = json.loads(messages.trades(BTC, [trade], 0))["data"]
    assert list(row) == [
        "symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp",
    ]  # fmt: skip
    assert (row["side"], row["qty"]) == (side, 40.0)


def test_a_ticker_is_the_documented_one() -> None:
    quote = Quote(1, 100 * E8, E8, 101 * E8, 2 * E8)
    window = Window(0, 1, 1, 98 * E8, 110 * E8, 90 * E8, 99 * E8, E8, 10 * E8, 1000 * E8, 1, 1, 1)
    message = json.loads(messages.ticker(BTC, quote, window, AT_NS, "snapshot"))
    (row,) = message["data"]
    assert list(row) == [
        "symbol", "bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high",
        "change", "change_pct", "timestamp",
    ]  # fmt: skip
    assert (row["change"], row["change_pct"], row["vwap"]) == (1.0, 1.02, 100.0)
    assert (message["channel"], message["type"]) == ("ticker", "snapshot")


def test_instruments_tell_precisions() -> None:
    text = messages.instrument_snapshot([BTC], "online")
    (pair,) = json.loads(text)["data"]["pairs"]
    assert (pair["price_precision"], pair["qty_precision"], pair["status"]) == (1, 8, "online")
    assert b"1e-" in text  # as JSON writers put it: parsers must take exponents


def test_the_connection_id_is_larger_than_a_signed_integer() -> None:
    (row,) = json.loads(messages.status("online"))["data"]
    assert row["connection_id"] > 2**63
    assert row["system"] == "online"


def test_refusals_and_pongs_echo_the_number() -> None:
    refusal = json.loads(messages.refusal("subscribe", "no", "A/B", 3, AT_NS, AT_NS))
    assert (refusal["success"], refusal["req_id"], refusal["symbol"]) == (False, 3, "A/B")
    assert json.loads(messages.pong(None, AT_NS, AT_NS))["method"] == "pong"
    assert "req_id" not in json.loads(messages.reply("subscribe", {}, None, AT_NS, AT_NS))
