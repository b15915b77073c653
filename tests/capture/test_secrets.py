"""Nothing that is called like a secret is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.capture.secrets import NAMES, is_secret, safe_message, safe_query, safe_url

SECRET = "c0ffee.s3cr-et_01"


@pytest.mark.parametrize("name", ["token", "X-Finnhub-Token", "apiKey", "API_KEY", "signature"])
def test_names_of_secrets_in_any_spelling(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["symbol", "category", "limit", "minId", "from", "keyword"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def test_a_query_keeps_what_is_no_secret() -> None:
    assert safe_query({"symbol": "AAPL", "token": SECRET, "limit": 5}) == {
        "symbol": "AAPL",
        "token": "***",
        "limit": "5",
    }


def test_a_url_keeps_neither_query_nor_user() -> None:
    assert safe_url(f"wss://u:{SECRET}@ws.finnhub.io:443/a?token={SECRET}#x") == (
        "wss://ws.finnhub.io:443/a"
    )


@pytest.mark.parametrize(
    "message",
    [
        '{"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}',
        '{"type":"subscribe","symbol":"AAPL"}',
        '{"type":"subscribe","symbol":"KEY"}',
        "not json at all",
    ],
)
def test_a_message_without_secrets_stays_as_it_is(message: str) -> None:
    assert safe_message(message) == message


@given(st.sampled_from(sorted(NAMES)), st.integers(0, 4))
def test_a_secret_is_hidden_however_deep(name: str, depth: int) -> None:
    value: object = {name: SECRET, "symbol": "AAPL"}
    for _ in range(depth):
        value = {"inner": [value]}
    kept = safe_message(json.dumps(value))
    assert SECRET not in kept
    assert "AAPL" in kept


def test_a_secret_in_what_is_no_json_is_hidden_too() -> None:
    kept = safe_message(f"LOGIN token={SECRET} symbol=AAPL")
    assert SECRET not in kept
    assert "symbol=AAPL" in kept
