"""The requests of one Kraken connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.kraken.session import Reply, Session, Subscription

PAIRS = ("ALGO/USD", "MATIC/USD", "BTC/USD")
AT_NS = 1696613755_219022000


def ask(session: Session, text: str) -> tuple[Reply, list[dict[str, Any]]]:
    reply = session.receive(text, AT_NS)
    return reply, [json.loads(message) for message in reply.messages]


def test_the_documented_exchange() -> None:
    """docs.kraken.com, websocket-v2: book (its own sample): one answer for each pair."""
    reply, said = ask(
        Session(PAIRS),
        '{"method":"subscribe","params":{"channel":"book","symbol":["ALGO/USD","MATIC/USD"],'
        '"depth":10,"snapshot":true},"req_id":7}',
    )
    assert said[0] == {
        "method": "subscribe",
        "req_id": 7,
        "result": {"channel": "book", "depth": 10, "snapshot": True, "symbol": "ALGO/USD"},
        "success": True,
        "time_in": "2023-10-06T17:35:55.219022Z",
        "time_out": "2023-10-06T17:35:55.219022Z",
    }
    assert said[1]["result"]["symbol"] == "MATIC/USD"
    assert (
        reply.added
        == reply.first
        == [
            Subscription("book", "ALGO/USD", "10"),
            Subscription("book", "MATIC/USD", "10"),
        ]
    )


def test_a_ping_is_answered_with_its_number() -> None:
    _, said = ask(Session(PAIRS), '{"method":"ping","req_id":101}')
    assert (said[0]["method"], said[0]["req_id"]) == ("pong", 101)
    assert "req_id" not in ask(Session(PAIRS), '{"method":"ping"}')[1][0]


def test_one_pair_may_be_refused_and_the_others_granted() -> None:
    reply, said = ask(
        Session(PAIRS),
        '{"method":"subscribe","params":{"channel":"trade","symbol":["NO/PE","BTC/USD"],'
        '"snapshot":false},"req_id":1}',
    )
    assert [(one["success"], one.get("symbol")) for one in said] == [(False, "NO/PE"), (True, None)]
    assert said[0]["error"] == "Currency pair not supported NO/PE"
    assert reply.first == []
    assert [one.stream for one in reply.added] == ["BTC/USD@trade"]


def test_an_unsubscribe_names_the_same_depth() -> None:
    session = Session(PAIRS)
    book = '"params":{"channel":"book","symbol":["BTC/USD"],"depth":%d}}'
    ask(session, '{"method":"subscribe",' + book % 100)
    assert not ask(session, '{"method":"unsubscribe",' + book % 10)[1][0]["success"]
    reply, said = ask(session, '{"method":"unsubscribe",' + book % 100)
    assert said[0]["success"]
    assert [one.stream for one in reply.removed] == ["BTC/USD@book-100"]


def test_a_channel_can_be_had_once() -> None:
    session = Session(PAIRS)
    text = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":%d}}'
    ask(session, text % 10)
    assert ask(session, text % 25)[1][0]["error"] == "Already subscribed"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "Malformed request"),
        ("[]", "Malformed request"),
        ('{"method":"dance"}', "Method not found"),
        ('{"method":"subscribe"}', "Field 'params' is required"),
        ('{"method":"subscribe","params":{"channel":"x"}}', "Channel 'x' not found"),
        ('{"method":"subscribe","params":{"channel":"trade"}}', "Field 'symbol' must be a list"),
        ('{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":11}}',
         "Field 'depth' must be one of 10, 25, 100, 500, 1000"),
        ('{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"],'
         '"event_trigger":"x"}}', "event_trigger"),
        ('{"method":"ping","req_id":"a"}', "'req_id' must be an integer"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(text: str, error: str) -> None:
    reply, said = ask(Session(PAIRS), text)
    assert said[0]["success"] is False
    assert error in said[0]["error"]
    assert not reply.added


@given(st.one_of(st.text(), st.binary(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["book", "subscribe", "ticker"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["method", "params", "channel", "symbol", "depth", "req_id"]), inner,
        max_size=5),
).map(json.dumps)))  # fmt: skip
def test_whatever_a_client_sends_is_answered(text: str | bytes) -> None:
    for message in Session(PAIRS).receive(text, AT_NS).messages:
        json.loads(message)
