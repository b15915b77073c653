"""Binance REST answers: shapes, weights, parameters, error codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.simulator.binance.messages import NS_PER_US, VenueTime
from bus.simulator.binance.rest import BinanceRest, stamp_for
from bus.simulator.instruments import crypto_instrument
from bus.simulator.market import SymbolMarket

NOW_NS = 1_723_161_253_000_000_000
STAMP = VenueTime()


@pytest.fixture(scope="module")
def markets() -> dict[str, SymbolMarket]:
    made = {
        name: SymbolMarket(crypto_instrument(name), 3, NOW_NS, levels=1_200, activity=5.0)
        for name in ("BTCUSDT", "ETHUSDT")
    }
    for market in made.values():
        market.step(NOW_NS + 900_000_000)
    return made


@pytest.fixture
def rest(markets: dict[str, SymbolMarket]) -> BinanceRest:
    return BinanceRest({n: m.instrument for n, m in markets.items()}, markets, 6_000)


def get(rest: BinanceRest, path: str, **query: str) -> Any:
    reply = rest.answer(f"/api/v3/{path}", query, NOW_NS + 10**9, STAMP)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def error(rest: BinanceRest, path: str, **query: str) -> tuple[int, int]:
    reply = rest.answer(f"/api/v3/{path}", query, NOW_NS, STAMP)
    return reply.status, json.loads(reply.body)["code"]


def test_ping_and_time(rest: BinanceRest) -> None:
    assert get(rest, "ping") == {}
    assert get(rest, "time") == {"serverTime": (NOW_NS + 10**9) // 1_000_000}


def test_microseconds_on_request() -> None:
    assert stamp_for("MICROSECOND", 0) == VenueTime(NS_PER_US)
    assert stamp_for(None, 7) == VenueTime(skew_ns=7)


def test_exchange_info_gives_increments_and_limits(rest: BinanceRest) -> None:
    info = get(rest, "exchangeInfo", symbol="BTCUSDT")
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 6000,
    }
    (row,) = info["symbols"]
    assert (row["baseAsset"], row["quoteAsset"], row["status"]) == ("BTC", "USDT", "TRADING")
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"


def test_exchange_info_of_several_symbols(rest: BinanceRest) -> None:
    info = get(rest, "exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]')
    assert [row["symbol"] for row in info["symbols"]] == ["ETHUSDT", "BTCUSDT"]
    assert len(get(rest, "exchangeInfo")["symbols"]) == 2


@pytest.mark.parametrize(("limit", "count"), [("5", 5), ("1000", 1000), ("", 100)])
def test_depth_gives_the_asked_levels_best_first(
    rest: BinanceRest, markets: dict[str, SymbolMarket], limit: str, count: int
) -> None:
    query = {"limit": limit} if limit else {}
    book = get(rest, "depth", symbol="BTCUSDT", **query)
    assert list(book) == ["lastUpdateId", "bids", "asks"]
    assert book["lastUpdateId"] == markets["BTCUSDT"].ladder.update_id
    assert (len(book["bids"]), len(book["asks"])) == (count, count)
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    assert all(len(text.partition(".")[2]) == 8 for level in book["bids"] for text in level)


def test_depth_beyond_the_most_is_cut(rest: BinanceRest) -> None:
    assert len(get(rest, "depth", symbol="BTCUSDT", limit="9999")["bids"]) > 1_000


def test_trades_have_contiguous_ids(rest: BinanceRest) -> None:
    rows = get(rest, "trades", symbol="BTCUSDT", limit="5")
    assert [row["id"] for row in rows] == list(range(rows[0]["id"], rows[0]["id"] + 5))
    assert list(rows[0]) == [
        "id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"
    ]  # fmt: skip


def test_day_ticker_for_one_and_for_all(rest: BinanceRest) -> None:
    row = get(rest, "ticker/24hr", symbol="BTCUSDT")
    assert list(row) == [
        "symbol", "priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice",
        "lastPrice", "lastQty", "bidPrice", "bidQty", "askPrice", "askQty", "openPrice",
        "highPrice", "lowPrice", "volume", "quoteVolume", "openTime", "closeTime", "firstId",
        "lastId", "count",
    ]  # fmt: skip
    change = float(row["lastPrice"]) - float(row["openPrice"])
    assert float(row["priceChange"]) == pytest.approx(change)
    assert row["lastId"] - row["firstId"] + 1 == row["count"]
    assert [item["symbol"] for item in get(rest, "ticker/24hr")] == ["BTCUSDT", "ETHUSDT"]


def test_mini_day_ticker(rest: BinanceRest) -> None:
    row = get(rest, "ticker/24hr", symbol="BTCUSDT", type="MINI")
    assert "bidPrice" not in row
    assert "lastPrice" in row


def test_book_and_price_tickers(rest: BinanceRest, markets: dict[str, SymbolMarket]) -> None:
    row = get(rest, "ticker/bookTicker", symbol="ETHUSDT")
    assert list(row) == ["symbol", "bidPrice", "bidQty", "askPrice", "askQty"]
    assert len(get(rest, "ticker/price", symbols='["BTCUSDT"]')) == 1


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("depth", {}, -1102),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("depth", {"symbol": "btcusdt"}, -1100),
        ("depth", {"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ("depth", {"symbol": "BTCUSDT", "limit": "0"}, -1130),
        ("trades", {"symbol": "BTCUSDT", "limit": "-1"}, -1100),
        ("exchangeInfo", {"symbol": "NOPE"}, -1121),
        ("exchangeInfo", {"symbol": "BTCUSDT", "symbols": "[]"}, -1128),
        ("ticker/24hr", {"symbols": "[1]"}, -1100),
        ("ticker/24hr", {"symbols": "{"}, -1100),
    ],
)
def test_bad_parameters(rest: BinanceRest, path: str, query: dict[str, str], code: int) -> None:
    assert error(rest, path, **query) == (400, code)


def test_an_unknown_path_is_404(rest: BinanceRest) -> None:
    assert rest.answer("/api/v3/klines", {}, NOW_NS, STAMP).status == 404


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("ping", {}, 1),
        ("exchangeInfo", {}, 20),
        ("depth", {"symbol": "BTCUSDT"}, 5),
        ("depth", {"symbol": "BTCUSDT", "limit": "101"}, 25),
        ("depth", {"symbol": "BTCUSDT", "limit": "1000"}, 50),
        ("depth", {"symbol": "BTCUSDT", "limit": "99999"}, 250),
        ("trades", {"symbol": "BTCUSDT"}, 25),
        ("ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("ticker/24hr", {}, 80),
        ("ticker/bookTicker", {}, 4),
    ],
)
def test_weights(rest: BinanceRest, path: str, query: dict[str, str], weight: int) -> None:
    reply, is_admitted = rest.admit(f"/api/v3/{path}", query, "1.2.3.4", NOW_NS)
    assert is_admitted
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_over_budget_is_429_with_retry_after(markets: dict[str, SymbolMarket]) -> None:
    rest = BinanceRest({n: m.instrument for n, m in markets.items()}, markets, 50)
    query = {"symbol": "BTCUSDT", "limit": "1000"}
    assert rest.admit("/api/v3/depth", query, "a", NOW_NS)[1]
    reply, is_admitted = rest.admit("/api/v3/depth", query, "a", NOW_NS)
    assert not is_admitted
    assert reply.status == 429
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert json.loads(reply.body)["code"] == -1003
