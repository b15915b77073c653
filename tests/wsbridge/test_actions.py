"""Requests: every one that is right is read, every other is refused with a code and a field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from bus.wsbridge.actions import Refusal, parse_request
from bus.wsbridge.messages import (
    ERRORS,
    ListRequest,
    Ping,
    Request,
    SnapshotRequest,
    StatusRequest,
    Subscribe,
    Unsubscribe,
)


def parse(value: Any) -> Request | Refusal:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_request(text, max_depth=20, max_history=1000)


@pytest.mark.parametrize(
    ("request_text", "kind"),
    [
        ({"action": "subscribe", "symbols": ["BTC"], "stream_type": "price"}, Subscribe),
        ({"action": "subscribe", "symbol": "BTC", "stream_type": ["price", "trades"]}, Subscribe),
        ({"action": "subscribe", "topics": ["price.BTC"], "conflate_ms": 0}, Subscribe),
        ({"action": "unsubscribe", "symbols": ["ETH"]}, Unsubscribe),
        ({"action": "unsubscribe", "all": True}, Unsubscribe),
        ({"action": "list"}, ListRequest),
        ({"action": "ping", "ts": {"any": ["thing"]}}, Ping),
        ({"action": "snapshot", "topics": ["price.BTC"]}, SnapshotRequest),
        ({"action": "status"}, StatusRequest),
        ({"action": "ping", "id": 2**53 - 1, "unknown": {"ignored": True}}, Ping),
        ({"action": "ping", "id": "x" * 64}, Ping),
    ],
)
def test_a_right_request_is_read(request_text: dict[str, Any], kind: type[Request]) -> None:
    assert isinstance(parse(request_text), kind)


@pytest.mark.parametrize(
    ("request_text", "code", "field"),
    [
        (b"", "bad_json", None),
        (b"hello", "bad_json", None),
        (b"[]", "bad_json", None),
        (b'[{"action":"ping"}]', "bad_json", None),
        (b"null", "bad_json", None),
        (b'"\\ud800"', "bad_json", None),
        (b'{"action":"ping","x":NaN}', "bad_json", None),
        (b"[" * 60_000, "bad_json", None),
        (b'{"a":' * 10_000, "bad_json", None),
        ({}, "bad_request", "action"),
        ({"action": 7}, "bad_request", "action"),
        ({"action": "explode"}, "unknown_action", "action"),
        ({"action": "Subscribe"}, "unknown_action", "action"),
        ({"action": "replay"}, "unsupported", "action"),
        ({"action": "set", "batch_ms": 251}, "bad_request", "batch_ms"),
        ({"action": "set", "heartbeat_ms": 5}, "bad_request", "heartbeat_ms"),
        ({"action": "set", "events": "some"}, "bad_request", "events"),
        ({"action": "ping", "id": 1.5}, "bad_request", "id"),
        ({"action": "ping", "id": True}, "bad_request", "id"),
        ({"action": "ping", "id": ""}, "bad_request", "id"),
        ({"action": "ping", "id": "x" * 65}, "bad_request", "id"),
        ({"action": "ping", "id": 2**53}, "bad_request", "id"),
        ({"action": "ping", "id": None}, "bad_request", "id"),
        ({"action": "subscribe"}, "bad_request", "symbols"),
        ({"action": "subscribe", "symbols": []}, "bad_request", "symbols"),
        ({"action": "subscribe", "symbols": "BTC"}, "bad_request", "symbols"),
        ({"action": "subscribe", "symbols": [1]}, "bad_request", "symbols"),
        ({"action": "subscribe", "symbol": ""}, "bad_request", "symbol"),
        ({"action": "subscribe", "symbols": ["BTC"], "topics": ["price.BTC"]}, "bad_request",
         "topics"),
        ({"action": "subscribe", "topics": ["price.BTC"], "stream_type": "price"}, "bad_request",
         "stream_type"),
        ({"action": "subscribe", "symbols": ["BTC"], "stream_type": 3}, "bad_request",
         "stream_type"),
        ({"action": "subscribe", "symbols": ["BTC"], "depth": 0}, "bad_request", "depth"),
        ({"action": "subscribe", "symbols": ["BTC"], "depth": 21}, "limit_depth", "depth"),
        ({"action": "subscribe", "symbols": ["BTC"], "depth": "5"}, "bad_request", "depth"),
        ({"action": "subscribe", "symbols": ["BTC"], "history": 1001}, "bad_request", "history"),
        ({"action": "subscribe", "symbols": ["BTC"], "snapshot": "yes"}, "bad_request",
         "snapshot"),
        ({"action": "subscribe", "symbols": ["BTC"], "since": {"a": 1}}, "bad_request", "since"),
        ({"action": "subscribe", "symbols": ["BTC"], "since": {"a": {"epoch": "e", "seq": -1}}},
         "bad_request", "since"),
        ({"action": "subscribe", "symbols": ["BTC"], "conflate_ms": -1}, "bad_request",
         "conflate_ms"),
        ({"action": "subscribe", "symbols": ["BTC"], "book": "x"}, "bad_request", "book"),
        ({"action": "subscribe", "symbols": ["BTC"], "on_slow": "x"}, "bad_request", "on_slow"),
        ({"action": "subscribe", "symbols": ["BTC"], "numbers": "x"}, "bad_request", "numbers"),
        ({"action": "subscribe", "topics": ["price.BTC"] * 5000}, "bad_request", "topics"),
        ({"action": "subscribe", "symbols": ["BTC"] * 100, "stream_type": ["price"] * 64},
         "bad_request", "stream_type"),
        ({"action": "snapshot", "symbols": ["x"] * 4000, "stream_type": ["y", "z"]},
         "bad_request", "stream_type"),
        ({"action": "status", "feeds": "binance"}, "bad_request", "feeds"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_code_and_field(
    request_text: Any, code: str, field: str | None
) -> None:
    refusal = parse(request_text)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code == code
    assert refusal.field == (UNSET if field is None else field)


def test_the_id_of_a_refused_request_is_known() -> None:
    refusal = parse({"action": "subscribe", "id": 9})
    assert isinstance(refusal, Refusal)
    assert refusal.id == 9


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_refusal(text: bytes) -> None:
    result = parse(text)
    assert not isinstance(result, Refusal) or result.code in ERRORS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
FIELDS = ["id", "symbols", "symbol", "stream_type", "topics", "snapshot", "depth", "history",
          "since", "book", "on_slow", "all", "ts", "feeds", "conflate_ms"]  # fmt: skip


@given(
    st.sampled_from(["subscribe", "unsubscribe", "snapshot", "list", "ping", "status"]),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4),
)
def test_any_fields_of_any_action_give_a_request_or_a_refusal(
    action: str, fields: dict[str, Any]
) -> None:
    result = parse({"action": action, **fields})
    if isinstance(result, Refusal):
        assert result.code in ERRORS
        assert "`" not in result.message, "a sentence of ours, not the library's"
