"""Replies as values, and request targets."""

from __future__ import annotations

import pytest

from bus.simulator.http_reply import HttpReply, Target, reply, to_response


@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        ("/api/v3/ping", "/api/v3/ping", {}),
        ("/depth?symbol=BTCUSDT&limit=5", "/depth", {"symbol": "BTCUSDT", "limit": "5"}),
        ("/x?a=1&a=2", "/x", {"a": "2"}),
        ("/x?a=&b", "/x", {"a": "", "b": ""}),
        ('/x?symbols=%5B%22A%22%5D', "/x", {"symbols": '["A"]'}),
        ("", "", {}),
    ],
)  # fmt: skip
def test_targets(raw: str, path: str, query: dict[str, str]) -> None:
    assert Target.parse(raw) == Target(path, query)


def test_a_value_becomes_json_with_its_keys_in_order() -> None:
    assert reply({"b": 1, "a": None}).body == b'{"b":1,"a":null}'


def test_headers_are_added_not_replaced() -> None:
    answer = reply({}, 429).with_headers(Retry_After="7").with_headers(X_Used="1")
    assert answer.headers == {"Retry-After": "7", "X-Used": "1"}


def test_the_response_tells_length_and_type_and_ends_the_connection() -> None:
    response = to_response(HttpReply(418, b"{}", {"Retry-After": "3"}))
    assert (response.status_code, response.body) == (418, b"{}")
    assert response.headers["Content-Length"] == "2"
    assert response.headers["Connection"] == "close"
    assert response.headers["Retry-After"] == "3"
