"""Finnhub REST answers: shapes and limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.simulator.finnhub.news import NewsDesk
from bus.simulator.finnhub.rest import CALLS_PER_S, FinnhubRest
from bus.simulator.finnhub.stocks import StockMarket
from bus.simulator.instruments import crypto_instrument, stock_instrument
from bus.simulator.market import SymbolMarket

NOW_NS = 1_723_161_253_000_000_000


@pytest.fixture
def rest() -> FinnhubRest:
    stocks = {"AAPL": StockMarket(stock_instrument("AAPL"), 1, NOW_NS)}
    crypto = {"BTCUSDT": SymbolMarket(crypto_instrument("BTCUSDT"), 1, NOW_NS, levels=20)}
    desk = NewsDesk([("AAPL", "APPLE INC")], 1, NOW_NS, 60)
    return FinnhubRest(stocks, crypto, desk, calls_per_min=60)


def get(rest: FinnhubRest, path: str, **query: str) -> Any:
    reply = rest.answer(f"/api/v1/{path}", query, "key", NOW_NS)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_quote(rest: FinnhubRest) -> None:
    quote = get(rest, "quote", symbol="AAPL")
    assert list(quote) == ["c", "d", "dp", "h", "l", "o", "pc", "t"]
    assert quote["d"] == pytest.approx(quote["c"] - quote["pc"], abs=0.005)
    assert quote["t"] == NOW_NS // 10**9


def test_quote_of_a_crypto_pair_and_of_nothing(rest: FinnhubRest) -> None:
    assert get(rest, "quote", symbol="BINANCE:BTCUSDT")["c"] > 1_000
    assert get(rest, "quote", symbol="NOPE")["d"] is None


def test_news_by_category_and_min_id(rest: FinnhubRest) -> None:
    items = get(rest, "news", category="crypto")
    assert list(items[0]) == [
        "category", "datetime", "headline", "id", "image", "related", "source", "summary", "url"
    ]  # fmt: skip
    assert get(rest, "news", category="crypto", minId=str(items[1]["id"])) == items[:1]
    assert get(rest, "news", category="gossip") == []


def test_company_news(rest: FinnhubRest) -> None:
    dates = {"from": "2024-08-01", "to": "2024-08-31"}
    assert all(
        item["related"] == "AAPL" for item in get(rest, "company-news", symbol="AAPL", **dates)
    )


def test_listings(rest: FinnhubRest) -> None:
    assert get(rest, "stock/symbol", exchange="US")[0]["symbol"] == "AAPL"
    assert get(rest, "stock/symbol", exchange="XX") == []
    assert get(rest, "crypto/exchange") == ["BINANCE"]
    assert get(rest, "crypto/symbol", exchange="binance") == [
        {
            "description": "Binance BTCUSDT",
            "displaySymbol": "BTC/USDT",
            "symbol": "BINANCE:BTCUSDT",
        }
    ]
    assert get(rest, "crypto/symbol", exchange="kraken") == []
    assert get(rest, "search", q="apple")["count"] == 1


def test_market_status(rest: FinnhubRest) -> None:
    status = get(rest, "stock/market-status", exchange="US")
    assert (status["isOpen"], status["session"]) == (True, "regular")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("quote", {}, 422),
        ("news", {"category": "general", "minId": "x"}, 422),
        ("company-news", {"symbol": "AAPL", "from": "yesterday", "to": "today"}, 422),
        ("press-releases", {"symbol": "AAPL"}, 403),
        ("nothing", {}, 404),
    ],
)
def test_refusals(rest: FinnhubRest, path: str, query: dict[str, str], status: int) -> None:
    reply = rest.answer(f"/api/v1/{path}", query, "key", NOW_NS)
    assert reply.status == status
    assert "error" in json.loads(reply.body)


def statuses(rest: FinnhubRest, count: int, gap_ns: int, token: str = "key") -> list[int]:
    query = {"symbol": "AAPL"}
    return [
        rest.answer("/api/v1/quote", query, token, NOW_NS + number * gap_ns).status
        for number in range(count)
    ]


def test_sixty_calls_a_minute_for_a_key(rest: FinnhubRest) -> None:
    assert statuses(rest, 61, 10**8) == [200] * 60 + [429]
    assert rest.answer("/api/v1/quote", {"symbol": "AAPL"}, "other", NOW_NS + 10**10).status == 200


def test_thirty_calls_a_second_at_most(rest: FinnhubRest) -> None:
    assert statuses(rest, CALLS_PER_S + 1, 0) == [200] * CALLS_PER_S + [429]


def test_the_body_of_a_refusal(rest: FinnhubRest) -> None:
    statuses(rest, CALLS_PER_S, 0)
    reply = rest.answer("/api/v1/quote", {"symbol": "AAPL"}, "key", NOW_NS)
    assert json.loads(reply.body) == {
        "error": "API limit reached. Please try again later. Remaining Limit: 0"
    }
