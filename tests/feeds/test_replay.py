"""A feed that is played a capture waits for nothing but the capture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bus.config import Settings, load
from bus.feeds.replay import for_replay, is_replay, pace_of


def playing(*files: str, speed: str = "max", mode: str = "embedded") -> Settings:
    names = ", ".join(f'"{name}"' for name in files)
    return load(
        None,
        [
            f"mode={mode}",
            "simulator.source=playback",
            f"simulator.playback_files=[{names}]",
            f'simulator.playback_speed="{speed}"',
        ],
    )


def test_only_captures_played_by_the_simulator_are_a_replay() -> None:
    assert is_replay(playing("a.mdcap"))
    assert not is_replay(playing("a.gz"))
    assert not is_replay(playing("a.mdcap", mode="live"))
    assert not is_replay(Settings())


def test_settings_stay_as_they_are_outside_a_replay() -> None:
    settings = Settings()
    assert for_replay(settings, "binance") is settings.feeds["binance"]
    assert pace_of(settings) == 1.0


def test_a_replay_changes_waits_only_and_captures_nothing() -> None:
    settings = playing("a.mdcap")
    own = replace(settings.feeds["binance"], capture=True)
    settings = replace(settings, feeds={"binance": own})
    changed = for_replay(settings, "binance")
    assert not changed.capture
    kept = {name: getattr(changed, name) for name in ("symbols", "orderbook_levels", "depth_limit")}
    assert kept == {name: getattr(own, name) for name in kept}
    assert changed.retry_cap_s < own.retry_cap_s
    assert changed.rest_timeout_s > own.rest_timeout_s


@pytest.mark.parametrize(
    ("speed", "pace"), [("max", 0.0), ("1", 1.0), ("4", 0.25), ("0.5", 2.0), ("-1", 1.0)]
)
def test_intervals_shrink_with_the_speed(speed: str, pace: float) -> None:
    assert pace_of(playing("a.mdcap", speed=speed)) == pace
