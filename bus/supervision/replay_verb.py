"""``replay``: recorded traffic instead of the simulated market, as `up` with other settings."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Final

from bus.errors import ConfigError, Problem
from bus.supervision.up import run_up

FLAT_OUT: Final = "max"


def run_replay(arguments: argparse.Namespace) -> int:
    """Start a bus that plays ``FILE…``; raises `ConfigError` with everything wrong with them."""
    problems = [problem for file in arguments.files if (problem := _unusable(Path(file)))]
    speed = checked_speed(arguments.speed)
    if speed is None:
        problems.append(
            Problem("--speed", "", f"{arguments.speed!r} is no speed", "1, 20, 0.5 or max")
        )
    if problems or speed is None:
        raise ConfigError(problems)
    files = json.dumps([str(Path(file).absolute()) for file in arguments.files], ensure_ascii=False)
    arguments.live = False
    arguments.overrides = [
        *arguments.overrides,
        'mode="embedded"',
        'simulator.source="playback"',
        f"simulator.playback_files={files}",
        f'simulator.playback_speed="{speed}"',
    ]
    sys.stdout.write(
        f"playing {len(arguments.files)} file{'s' if len(arguments.files) > 1 else ''} "
        f"{'flat out' if speed == FLAT_OUT else f'at speed {speed}'}\n"
    )
    return run_up(arguments)


def checked_speed(text: str) -> str | None:
    """The speed as the settings want it: ``max``, or a factor above 0; None when it is neither."""
    if text == FLAT_OUT:
        return text
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        return None
    return f"{factor:g}" if math.isfinite(factor) and factor > 0 else None


def _unusable(file: Path) -> Problem | None:
    try:
        if not file.is_file():
            what = "is not a file" if file.exists() else "no such file"
            return Problem(str(file), "", what)
        with file.open("rb") as opened:
            if not opened.read(1):
                return Problem(str(file), "", "is empty")
    except OSError as error:
        return Problem(str(file), "", f"cannot be read: {error.strerror}")
    return None
