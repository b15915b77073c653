"""Coinbase's REST answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bus.simulator.coinbase.rest import CoinbaseRest
from tests.simulator.coinbase.test_streams import Product


@pytest.fixture
def product() -> Product:
    one = Product("matches")
    one.run(20)
    return one


def get(product: Product, path: str, **query: str) -> tuple[int, Any, dict[str, str]]:
    rest = CoinbaseRest({"BTC-USD": product.streams})
    answer = rest.answer(path, query, product.now_ns, 0)
    return answer.status, json.loads(answer.body), answer.headers


def test_products(product: Product) -> None:
    assert get(product, "/products")[1] == [get(product, "/products/BTC-USD")[1]]


def test_trades_come_newest_first_with_cursors(product: Product) -> None:
    status, trades, headers = get(product, "/products/BTC-USD/trades")
    ids = [trade["trade_id"] for trade in trades]
    assert status == 200
    assert ids == sorted(ids, reverse=True)
    assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(ids[0]), str(ids[-1]))
    assert set(trades[0]) == {"trade_id", "side", "size", "price", "time"}
    last = product.market.recent_trades[-1]
    assert trades[0]["side"] == ("buy" if last.buyer_is_maker else "sell")


def test_after_brings_older_and_before_newer_trades(product: Product) -> None:
    ids = [trade["trade_id"] for trade in get(product, "/products/BTC-USD/trades")[1]]
    middle = str(ids[10])
    older = get(product, "/products/BTC-USD/trades", after=middle, limit="3")[1]
    newer = get(product, "/products/BTC-USD/trades", before=middle, limit="3")[1]
    assert [trade["trade_id"] for trade in older] == ids[11:14]
    assert [trade["trade_id"] for trade in newer] == ids[7:10]
    assert get(product, "/products/BTC-USD/trades", after="1")[1] == []


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"after": "x"}])
def test_a_wrong_page_is_refused(product: Product, query: dict[str, str]) -> None:
    assert get(product, "/products/BTC-USD/trades", **query)[0] == 400


def test_book_ticker_and_stats_agree_with_the_market(product: Product) -> None:
    quote = product.market.quote()
    best = get(product, "/products/BTC-USD/book")[1]
    assert float(best["bids"][0][0]) == quote.bid_e8 / 1e8
    assert len(best["bids"]) == 1
    whole = get(product, "/products/BTC-USD/book", level="2")[1]
    assert len(whole["asks"]) == len(product.market.ladder.ask_prices)
    ticker = get(product, "/products/BTC-USD/ticker")[1]
    stats = get(product, "/products/BTC-USD/stats")[1]
    assert ticker["price"] == stats["last"]
    assert float(ticker["ask"]) == quote.ask_e8 / 1e8


@pytest.mark.parametrize(
    ("path", "status"),
    [("/products/NO-PE", 404), ("/products/BTC-USD/candles", 404), ("/orders", 404),
     ("/products/BTC-USD/trades/1", 404), ("/time", 200)],
)  # fmt: skip
def test_other_paths(product: Product, path: str, status: int) -> None:
    assert get(product, path)[0] == status


def test_level_three_needs_a_key(product: Product) -> None:
    assert get(product, "/products/BTC-USD/book", level="3")[0] == 400
