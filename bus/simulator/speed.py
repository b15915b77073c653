"""How fast recorded traffic is played. Pure."""

from __future__ import annotations

from bus.errors import ConfigError


def parse_speed(text: str) -> float | None:
    """``"max"`` is ``None`` (flat out), else a factor above 0. Raises :class:`ConfigError`."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError.of(
            "simulator.playback_speed", f"{text!r} is no speed", hint='a number above 0, or "max"'
        )
    return speed
