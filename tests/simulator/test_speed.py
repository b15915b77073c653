"""Speeds of a playback."""

from __future__ import annotations

import pytest

from bus.errors import ConfigError
from bus.simulator.speed import parse_speed


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("0.5", 0.5), ("20", 20.0)])
def test_a_speed_is_a_factor_or_max(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "-1", "inf", "nan", "fast"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no speed"):
        parse_speed(text)
