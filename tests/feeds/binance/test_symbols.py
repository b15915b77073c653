"""Symbols are mapped by what the venue lists, and a misspelt one is told with its neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.binance.symbols import guess, parse_exchange_info
from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.model import Instrument

# binance-spot-api-docs: rest-api.md, the document's own example, shortened
INFO = {
    "timezone": "UTC",
    "rateLimits": [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": 6000,
        },
    ],
    "symbols": [
        {
            "symbol": "ETHBTC",
            "status": "TRADING",
            "baseAsset": "ETH",
            "quoteAsset": "BTC",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.00000100", "maxPrice": "1"},
                {"filterType": "LOT_SIZE", "stepSize": "0.00100000", "minQty": "0.00200000"},
                {"filterType": "NOTIONAL", "minNotional": "0.00010000", "applyMinToMarket": True},
                {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 25},
            ],
        },
        {"symbol": "BTCUSDT", "status": "HALT", "baseAsset": "BTC", "quoteAsset": "USDT"},
    ],
}


def test_what_the_venue_lists() -> None:
    info = parse_exchange_info(json.dumps(INFO).encode())
    assert info.weight_per_minute == 6000
    assert info.instruments == {
        "ETH-BTC": Listed(
            "ETH-BTC",
            "ETHBTC",
            True,
            described=Instrument(
                "ETH", "BTC", "spot", "trading", "ETHBTC", 0.000001, 0.001, 0.002, 0.0001
            ),
        ),
        "BTC-USDT": Listed(
            "BTC-USDT",
            "BTCUSDT",
            False,
            described=Instrument("BTC", "USDT", "spot", "halted", "BTCUSDT"),
        ),
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [("BREAK", "halted"), ("END_OF_DAY", "closed"), ("CANCEL_ONLY", "cancel_only")],
)
def test_a_status_that_is_not_trading_never_passes_for_it(word: str, status: str) -> None:
    listed = {"symbol": "ETHBTC", "status": word, "baseAsset": "ETH", "quoteAsset": "BTC"}
    info = parse_exchange_info(json.dumps({"symbols": [listed]}).encode())
    described = info.instruments["ETH-BTC"].described
    assert described is not None
    assert described.status == status


@pytest.mark.parametrize("text", ["0.00000000", "x", None, "inf", "-1", [], "1e999"])
def test_a_rule_that_is_off_or_no_number_is_not_known(text: object) -> None:
    listed = {
        "symbol": "ETHBTC",
        "baseAsset": "ETH",
        "quoteAsset": "BTC",
        "filters": [{"filterType": "PRICE_FILTER", "tickSize": text}],
    }
    info = parse_exchange_info(json.dumps({"symbols": [listed]}).encode())
    described = info.instruments["ETH-BTC"].described
    assert described is not None
    assert described.tick_size is None


def test_a_limit_that_is_not_told_is_none() -> None:
    assert parse_exchange_info(b'{"symbols":[]}').weight_per_minute is None


def test_until_the_venue_is_asked_the_dash_is_left_out() -> None:
    assert guess("BTC-USDT") == Listed("BTC-USDT", "BTCUSDT")


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    try:
        parse_exchange_info(body)
    except ParseError as error:
        assert error.reason == "exchange_info"  # noqa: PT017


@pytest.mark.recorded
def test_a_whole_recorded_list(recorded_dir: Path) -> None:
    import gzip

    with gzip.open(recorded_dir / "cryptofeed" / "BINANCE.0.gz") as file:
        body = file.readline().split(b": ", 1)[1]
    info = parse_exchange_info(body)
    assert info.weight_per_minute == 1200
    described = Instrument(
        "BTC", "USDT", "spot", "trading", "BTCUSDT", 0.01, 0.00001, 0.00001, 10.0
    )
    expected = Listed("BTC-USDT", "BTCUSDT", described=described)
    assert info.instruments["BTC-USDT"] == expected
    assert len(info.instruments) > 1_000
