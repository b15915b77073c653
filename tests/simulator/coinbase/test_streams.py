"""One product's channels over its market."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from bus.simulator.clients import Client
from bus.simulator.coinbase.streams import ProductStreams
from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults
from bus.simulator.instruments import crypto_instrument, dollar_instrument
from bus.simulator.market import SymbolMarket
from tests.simulator.conftest import START_NS
from tests.simulator.test_fanout import Listener

STEP_NS = 20_000_000


class Product:
    """BTC-USD with one listener on some channels."""

    def __init__(self, *channels: str) -> None:
        self.faults = Faults()
        self.fanout = Fanout(self.faults)
        instrument = dollar_instrument(crypto_instrument("BTCUSDT"), "-")
        self.market = SymbolMarket(instrument, 3, START_NS, levels=100, diff_streams=1)
        self.streams = ProductStreams(self.market, self.fanout, self.faults)
        self.listener = Listener()
        for channel in channels:
            self.fanout.subscribe(cast(Client, self.listener), f"BTC-USD@{channel}")
        self.now_ns = START_NS

    def run(self, seconds: float) -> list[dict[str, Any]]:
        for _ in range(round(seconds * 50)):
            self.now_ns += STEP_NS
            self.streams.step(self.now_ns)
        heard = [json.loads(message) for message in self.listener.heard]
        self.listener.heard.clear()
        return heard


@pytest.fixture
def product() -> Callable[..., Product]:
    return Product


def test_nobody_listening_costs_no_message(product: Callable[..., Product]) -> None:
    assert product().run(3) == []


def test_matches_count_up_by_one_and_are_the_markets_trades(
    product: Callable[..., Product],
) -> None:
    one = product("matches")
    heard = one.run(20)
    ids = [message["trade_id"] for message in heard]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 20
    assert [trade.trade_id for trade in one.market.recent_trades] == ids
    assert one.streams.first_match() is not None


def test_sequences_grow_over_all_channels(product: Callable[..., Product]) -> None:
    heard = product("matches", "ticker", "heartbeat").run(20)
    sequences = [message["sequence"] for message in heard]
    assert sequences == sorted(sequences)
    matches = [message["sequence"] for message in heard if message["type"] == "match"]
    assert len(set(matches)) == len(matches)


def test_a_ticker_takes_the_fills_of_one_order_together(product: Callable[..., Product]) -> None:
    heard = product("matches", "ticker").run(30)
    tickers = [message for message in heard if message["type"] == "ticker"]
    matches = {message["trade_id"]: message for message in heard if message["type"] == "match"}
    assert 0 < len(tickers) < len(matches)
    for ticker in tickers:
        match = matches[ticker["trade_id"]]
        assert (ticker["price"], ticker["last_size"]) == (match["price"], match["size"])
        assert ticker["side"] != match["side"]
        assert float(ticker["best_bid"]) < float(ticker["best_ask"])


def test_heartbeats_come_once_a_second_with_the_last_trade(
    product: Callable[..., Product],
) -> None:
    heard = product("heartbeat", "matches").run(10)
    beats = [message for message in heard if message["type"] == "heartbeat"]
    assert len(beats) in (10, 11)
    last = None
    for message in heard:
        if message["type"] == "match":
            last = message["trade_id"]
        elif last is not None:
            assert message["last_trade_id"] == last


def test_ticker_batch_comes_every_five_seconds(product: Callable[..., Product]) -> None:
    assert len(product("ticker_batch").run(20)) in (3, 4)


def test_updates_on_the_snapshot_give_the_book(product: Callable[..., Product]) -> None:
    one = product("level2_batch")
    one.run(0.5)
    snapshot = json.loads(one.streams.snapshot())
    book = {
        "buy": {float(price): float(size) for price, size in snapshot["bids"]},
        "sell": {float(price): float(size) for price, size in snapshot["asks"]},
    }
    heard = one.run(10)
    assert 190 <= len(heard) <= 201
    for update in heard:
        for side, price, size in update["changes"]:
            book[side][float(price)] = float(size)
    whole = json.loads(one.streams.snapshot())
    for side, key in (("buy", "bids"), ("sell", "asks")):
        mine = {price: size for price, size in book[side].items() if size}
        assert mine == {float(price): float(size) for price, size in whole[key]}


def test_a_dropped_trade_is_a_hole_in_the_ids(product: Callable[..., Product]) -> None:
    one = product("matches")
    one.run(5)
    before = one.streams.last_trade_id
    one.faults.arm_next("drop_trade", "BTC-USD", 1)
    ids = {message["trade_id"] for message in one.run(10)}
    assert set(range(before + 1, one.streams.last_trade_id + 1)) - ids == {before + 1}
