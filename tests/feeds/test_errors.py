"""Errors carry their facts."""

from __future__ import annotations

from bus.errors import MdbusError
from bus.feeds.errors import ParseError, RestError


def test_a_parse_error_keeps_only_the_beginning_of_a_frame() -> None:
    error = ParseError("json", "truncated", b"x" * 10_000)
    assert isinstance(error, MdbusError)
    assert len(error.frame) == 200
    assert str(error).startswith("json: truncated: b'xxx")


def test_a_rest_error_shows_its_status_if_there_was_one() -> None:
    assert str(RestError("limited", "slow down", status=429)) == "limited (429): slow down"
    assert str(RestError("unreachable", "no route")) == "unreachable: no route"
