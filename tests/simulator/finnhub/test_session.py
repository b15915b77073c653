"""Finnhub's control protocol."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.finnhub.session import TOO_MANY, Session


def subscribe(own: Session, symbol: str, type_: str = "subscribe") -> bytes | None:
    return own.receive(json.dumps({"type": type_, "symbol": symbol}))


def test_subscriptions_are_not_acknowledged() -> None:
    own = Session(50)
    assert subscribe(own, "AAPL") is None
    assert own.trades == {"AAPL"}
    assert subscribe(own, "AAPL", "unsubscribe") is None
    assert own.trades == set()


def test_news_and_releases_are_subscribed_apart() -> None:
    own = Session(50)
    subscribe(own, "AAPL", "subscribe-news")
    subscribe(own, "MSFT", "subscribe-pr")
    assert (own.trades, own.news, own.releases) == (set(), {"AAPL"}, {"MSFT"})
    subscribe(own, "AAPL", "unsubscribe-news")
    assert own.news == set()


def test_one_symbol_too_many_is_refused_until_another_is_given_up() -> None:
    own = Session(2)
    subscribe(own, "A")
    subscribe(own, "B")
    assert subscribe(own, "C") == TOO_MANY
    assert subscribe(own, "A") is None
    subscribe(own, "A", "unsubscribe")
    assert subscribe(own, "C") is None
    assert own.trades == {"B", "C"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid message"),
        ("[]", "Invalid message"),
        ('{"type":"publish","symbol":"A"}', "Unknown message type"),
        ('{"type":"subscribe-x","symbol":"A"}', "Unknown message type"),
        ('{"type":"subscribe"}', "Invalid symbol"),
    ],
)
def test_errors(text: str, message: str) -> None:
    answer = Session(50).receive(text)
    assert answer is not None
    assert json.loads(answer) == {"msg": message, "type": "error"}


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_nothing_a_client_sends_raises(text: bytes | str) -> None:
    Session(50).receive(text)
