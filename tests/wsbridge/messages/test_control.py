"""Control messages as JSON: what is unset is absent, what is null stays."""

from __future__ import annotations

import msgspec
import pytest

from bus.wsbridge.messages import ERRORS, Pong, encode, error
from tests.wsbridge.makers import T0_NS


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_carries_the_status_of_its_code(code: str) -> None:
    message = msgspec.json.decode(encode(error(code, "why", now_ns=T0_NS)))
    assert message == {
        "type": "error",
        "code": code,
        "status": ERRORS[code].status,
        "message": "why",
        "retryable": ERRORS[code].retryable,
        "timestamp": "2026-01-28T10:30:00.000000Z",
    }


def test_optional_fields_appear_when_they_are_set() -> None:
    message = error("feed_down", "x", now_ns=T0_NS, id=0, topic="t", field="f", retry_after_ms=1)
    decoded = msgspec.json.decode(encode(message))
    assert (decoded["id"], decoded["topic"], decoded["field"]) == (0, "t", "f")
    assert decoded["retry_after_ms"] == 1


def test_the_ts_of_a_ping_comes_back_byte_for_byte() -> None:
    raw = msgspec.Raw(b'{"a":[1.0,null,"\\u00e9"]}')
    assert b'"ts":{"a":[1.0,null,"\\u00e9"]}' in encode(Pong(ts=raw, server_us=1, timestamp="t"))
