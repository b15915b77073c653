"""Errors carry their facts and say what to do."""

from __future__ import annotations

import pytest

from bus.errors import BusError, ConfigError, MdbusError, PayloadError, Problem, TopicError


@pytest.mark.parametrize("kind", [ConfigError, BusError, TopicError, PayloadError])
def test_every_error_has_the_one_root(kind: type[Exception]) -> None:
    assert issubclass(kind, MdbusError)


def test_a_config_error_lists_every_problem_a_line_each() -> None:
    error = ConfigError(
        [Problem("f.toml", "a.b", "is wrong", "do this"), Problem("f.toml", "", "x")]
    )
    assert str(error) == "f.toml: a.b: is wrong (do this)\nf.toml: x"
    assert error.problems[0].key == "a.b"


def test_a_long_topic_is_shown_in_part() -> None:
    assert str(TopicError(b"x" * 500, "too long")).count("x") == 80


def test_one_problem_found_elsewhere() -> None:
    error = ConfigError.of("bridge.port", "port 8000 is taken", hint="set another")
    assert str(error) == "settings: bridge.port: port 8000 is taken (set another)"
