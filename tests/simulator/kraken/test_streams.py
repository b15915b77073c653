"""One pair's channels over its market: a follower that cuts to the depth has the book."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.book.checksum import ChecksumBook
from bus.simulator.clients import Client
from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults
from bus.simulator.instruments import E8, crypto_instrument, dollar_instrument
from bus.simulator.kraken.streams import PairStreams, changes
from bus.simulator.market import SymbolMarket
from tests.simulator.conftest import START_NS
from tests.simulator.test_fanout import Listener


class Pair:
    """BTC/USD with one listener on some streams."""

    def __init__(self, *channels: str) -> None:
        self.faults = Faults()
        self.fanout = Fanout(self.faults)
        instrument = dollar_instrument(crypto_instrument("BTCUSDT"), "/", E8 // 10)
        self.market = SymbolMarket(instrument, 3, START_NS, levels=60, diff_streams=0)
        self.streams = PairStreams(self.market, self.fanout, self.faults)
        self.listener = Listener()
        for channel in channels:
            self.fanout.subscribe(cast(Client, self.listener), f"BTC/USD@{channel}")
        self.now_ns = START_NS

    def run(self, seconds: float) -> list[dict[str, Any]]:
        for _ in range(round(seconds * 50)):
            self.now_ns += 20_000_000
            self.streams.step(self.now_ns)
        heard = [json.loads(text, parse_float=Decimal) for text in self.listener.heard]
        self.listener.heard.clear()
        return heard


def levels(rows: list[dict[str, Decimal]]) -> list[tuple[Decimal, Decimal]]:
    return [(row["price"], row["qty"]) for row in rows]


@pytest.mark.parametrize("depth", [10, 25, 100])
def test_a_follower_has_the_book_and_every_checksum_agrees(depth: int) -> None:
    pair = Pair(f"book-{depth}")
    (first,) = json.loads(pair.streams.book(depth, START_NS), parse_float=Decimal)["data"]
    book = ChecksumBook(depth, 1, 8)
    assert book.load(levels(first["bids"]), levels(first["asks"]), first["checksum"]).fault == ""
    heard = pair.run(20)
    assert len(heard) > 200
    for message in heard:
        (row,) = message["data"]
        change = book.apply(levels(row["bids"]), levels(row["asks"]), row["checksum"])
        assert change.fault == ""
    _, bids, asks = pair.market.snapshot(depth)
    assert book.levels() == tuple(
        [(price / E8, size / E8) for price, size in side] for side in (bids, asks)
    )


def test_a_late_subscriber_of_the_same_depth_joins_in() -> None:
    pair = Pair("book-10")
    pair.streams.book(10, START_NS)
    pair.run(3)
    (late,) = json.loads(pair.streams.book(10, pair.now_ns), parse_float=Decimal)["data"]
    book = ChecksumBook(10, 1, 8)
    assert book.load(levels(late["bids"]), levels(late["asks"]), late["checksum"]).fault == ""
    for message in pair.run(3):
        (row,) = message["data"]
        assert book.apply(levels(row["bids"]), levels(row["asks"]), row["checksum"]).fault == ""


def test_a_book_taken_again_after_a_while_starts_afresh() -> None:
    pair = Pair("book-10")
    pair.streams.book(10, START_NS)
    pair.run(1)
    client = cast(Client, pair.listener)
    pair.fanout.leave(client)
    pair.run(1)
    (row,) = json.loads(pair.streams.book(10, pair.now_ns), parse_float=Decimal)["data"]
    _, bids, _ = pair.market.snapshot(10)
    assert levels(row["bids"])[0][0] * E8 == bids[0][0]


@given(
    st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=12),
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=8),
    st.integers(1, 6),
)
def test_whatever_changes_a_cutting_follower_gets_there(
    whole: dict[int, int], updates: list[tuple[int, int]], depth: int
) -> None:
    def top(book: dict[int, int]) -> list[tuple[int, int]]:
        return sorted(book.items())[:depth]

    old = dict(top(whole))
    for price, size in updates:
        whole.pop(price, None)
        if size:
            whole[price] = size
    follower = dict(old)
    for price, size in changes(old, top(whole), {price: whole.get(price, 0) for price in old}):
        follower.pop(price, None)
        if size:
            follower[price] = size
    assert top(follower) == top(whole)


def test_a_wrong_checksum_on_demand() -> None:
    pair = Pair("book-10")
    pair.streams.book(10, START_NS)
    pair.faults.arm_next("wrong_checksum", "BTC/USD", 1)
    pair.run(1)
    assert pair.faults.happened["wrong_checksum"] == 1


def test_trades_count_up_by_one_and_tickers_follow_their_trigger() -> None:
    pair = Pair("trade", "ticker-bbo")
    heard = pair.run(20)
    ids = [row["trade_id"] for message in heard if message["channel"] == "trade"
           for row in message["data"]]  # fmt: skip
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    tickers = [message for message in heard if message["channel"] == "ticker"]
    assert len(tickers) > 20
    trades_only = Pair("trade", "ticker-trades").run(20)
    assert 0 < sum(message["channel"] == "ticker" for message in trades_only) < len(tickers)
    assert len(json.loads(pair.streams.trades())["data"]) == min(50, len(ids))


def test_a_dropped_trade_is_a_hole_in_the_ids() -> None:
    pair = Pair("trade")
    pair.run(5)
    before = pair.market.recent_trades[-1].trade_id
    pair.faults.arm_next("drop_trade", "BTC/USD", 1)
    ids = {row["trade_id"] for message in pair.run(10) for row in message["data"]}
    last = pair.market.recent_trades[-1].trade_id
    assert set(range(before + 1, last + 1)) - ids == {before + 1}
