"""Coinbase's list of products."""

from __future__ import annotations

import pytest

from bus.feeds.coinbase.symbols import guess, parse_products
from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.model import Instrument


def test_a_product_id_is_the_normal_form() -> None:
    assert guess("BTC-USD") == Listed("BTC-USD", "BTC-USD")


def test_products_with_their_state() -> None:
    body = (
        b'[{"id":"BTC-USD","base_currency":"BTC","status":"online","trading_disabled":false},'
        b'{"id":"OLD-USD","status":"delisted"},{"id":"X-USD","trading_disabled":true}]'
    )
    listed = parse_products(body)
    assert [(one.symbol, one.trading) for one in listed.values()] == [
        ("BTC-USD", True),
        ("OLD-USD", False),
        ("X-USD", False),
    ]


def test_a_product_is_described_in_numbers() -> None:
    body = (
        b'[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01",'
        b'"base_increment":"0.00000001","min_market_funds":"1","status":"online"}]'
    )
    assert parse_products(body)["BTC-USD"].described == Instrument(
        "BTC", "USD", "spot", "trading", "BTC-USD", 0.01, 1e-08, None, 1.0
    )


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"status":"online"}]', b"\xff"])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_products(body)
