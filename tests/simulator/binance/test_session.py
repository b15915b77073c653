"""Binance's control protocol: documented requests, replies and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.binance.session import MAX_STREAMS, Session

SECOND_NS = 1_000_000_000


def session(*, combined: bool = False) -> Session:
    return Session(combined=combined, microseconds=False)


def ask(target: Session, **request: object) -> Any:
    return json.loads(target.receive(json.dumps(request)).message)


def test_subscribe_is_acknowledged_and_tells_what_is_new() -> None:
    own = session()
    own.open(["btcusdt@depth"])
    reply = own.receive(
        '{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt@depth"],"id":1}'
    )
    assert reply.message == b'{"result":null,"id":1}'
    assert reply.added == ("btcusdt@aggTrade",)


def test_unknown_streams_are_acknowledged_too() -> None:
    own = session()
    reply = own.receive('{"method":"SUBSCRIBE","params":["BTCUSDT@nonsense"],"id":"a1"}')
    assert reply.message == b'{"result":null,"id":"a1"}'
    assert ask(own, method="LIST_SUBSCRIPTIONS", id=3) == {"result": ["BTCUSDT@nonsense"], "id": 3}


def test_unsubscribe_names_only_what_was_subscribed() -> None:
    own = session()
    own.open(["a@trade"])
    reply = own.receive('{"method":"UNSUBSCRIBE","params":["a@trade","b@trade"],"id":312}')
    assert reply.message == b'{"result":null,"id":312}'
    assert reply.removed == ("a@trade",)
    assert not own.streams


def test_the_combined_property_is_read_and_set() -> None:
    own = session()
    assert ask(own, method="GET_PROPERTY", params=["combined"], id=2) == {"result": False, "id": 2}
    assert ask(own, method="SET_PROPERTY", params=["combined", True], id=5) == {
        "result": None,
        "id": 5,
    }
    assert own.combined


ERRORS = [
    ({"method": "SET_PROPERTY", "params": ["shape", True], "id": 1}, 0, "Unknown property"),
    ({"method": "GET_PROPERTY", "params": ["shape"], "id": 1}, 0, "Unknown property"),
    (
        {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1},
        1,
        "Invalid value type: expected Boolean",
    ),
    (
        {"method": "SET_PROPERTY", "params": ["combined"], "id": 1},
        1,
        "Invalid value type: expected Boolean",
    ),
    (
        {"method": "SET_PROPERTY", "params": [], "id": 1},
        2,
        "Invalid request: property name must be a string",
    ),
    (
        {"method": "GET_PROPERTY", "params": [7], "id": 1},
        2,
        "Invalid request: property name must be a string",
    ),
    (
        {"method": "SUBSCRIBE", "params": ["a"]},
        2,
        "Invalid request: request ID must be an unsigned integer",
    ),
    (
        {"method": "SUBSCRIBE", "params": ["a"], "id": 1.5},
        2,
        "Invalid request: request ID must be an unsigned integer",
    ),
    (
        {"method": "SUBSCRIBE", "params": ["a"], "id": "x" * 37},
        2,
        "Invalid request: request ID must be an unsigned integer",
    ),
    (
        {"method": "LIST_SUBSCRIPTIONS", "params": ["a"], "id": 1},
        2,
        "Invalid request: too many parameters",
    ),
    (
        {"method": "SUBSCRIBE", "params": ["a"], "id": 1, "extra": 1},
        2,
        "Invalid request: too many parameters",
    ),
]


@pytest.mark.parametrize(("request_", "code", "message"), ERRORS)
def test_documented_errors(request_: dict[str, object], code: int, message: str) -> None:
    answer = ask(session(), **request_)
    assert (answer["code"], answer["msg"]) == (code, message)
    assert answer.get("id", request_.get("id")) == request_.get("id")


def test_an_unknown_method_lists_the_known_ones() -> None:
    answer = ask(session(), method="PUBLISH", id=1)
    assert answer["code"] == 2
    assert answer["msg"].startswith(
        "Invalid request: unknown variant `PUBLISH`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`"
    )


def test_a_missing_method() -> None:
    assert "missing field `method`" in ask(session(), params=[], id=1)["msg"]


def test_bad_json_tells_the_place() -> None:
    answer = json.loads(session().receive("{]").message)
    assert answer == {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2"}


@pytest.mark.parametrize("request_id", [0, -(2**63), 2**63 - 1, "a" * 36, None])
def test_permitted_ids_come_back(request_id: object) -> None:
    answer = ask(session(), method="LIST_SUBSCRIPTIONS", id=request_id)
    assert answer == {"result": [], "id": request_id}


def test_the_stream_beyond_the_limit_is_refused_and_closes() -> None:
    own = session()
    own.open([f"s{number}@trade" for number in range(MAX_STREAMS)])
    reply = own.receive('{"method":"SUBSCRIBE","params":["one@more"],"id":1}')
    assert json.loads(reply.message) == {"code": 4, "msg": "Too many subscriptions", "id": 1}
    assert reply.close == (1008, "Invalid request")
    assert len(own.streams) == MAX_STREAMS


def test_too_many_streams_in_the_url_are_refused() -> None:
    with pytest.raises(ValueError, match="Too many"):
        session().open([f"s{number}" for number in range(MAX_STREAMS + 1)])


def test_five_frames_a_second_are_allowed_and_a_sixth_is_not() -> None:
    own = session()
    assert [own.count_frame(0) for _ in range(6)] == [True] * 5 + [False]


def test_frames_may_come_again_after_a_second() -> None:
    own = session()
    for _ in range(5):
        own.count_frame(0)
    assert own.count_frame(SECOND_NS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["method", "params", "id", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_json_gets_exactly_one_reply_and_no_exception(value: object) -> None:
    answer = json.loads(session().receive(json.dumps(value)).message)
    assert ("result" in answer) != ("code" in answer)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_get_an_error_and_no_exception(text: bytes | str) -> None:
    json.loads(session().receive(text).message)


methods = st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE"])
names = st.lists(st.sampled_from([f"s{number}@trade" for number in range(8)]), max_size=6)


@given(st.lists(st.tuples(methods, names), max_size=30))
def test_the_subscriptions_are_what_a_set_would_hold(
    requests: list[tuple[str, list[str]]],
) -> None:
    own = session()
    model: set[str] = set()
    for method, params in requests:
        reply = own.receive(json.dumps({"method": method, "params": params, "id": 1}))
        before = set(model)
        model = model | set(params) if method == "SUBSCRIBE" else model - set(params)
        assert set(reply.added) == model - before
        assert set(reply.removed) == before - model
    assert set(own.streams) == model
