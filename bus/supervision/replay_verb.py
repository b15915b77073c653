"""``replay``: recorded traffic instead of the simulated market, as `up` with other settings.

A capture says which feed it is of, with which symbols: those feeds run, unless told otherwise with
``--set``, and no others of the default profile.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import Final

from bus.capture import CaptureError, Head
from bus.capture.files import SUFFIX
from bus.capture.heads import head_of, replay_overrides
from bus.errors import ConfigError, Problem
from bus.supervision.up import run_up

FLAT_OUT: Final = "max"
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A first line longer than this is none: a book of 5000 levels takes some 300 kB."""


def run_replay(arguments: argparse.Namespace) -> int:
    """Start a bus that plays ``FILE…``; raises `ConfigError` with everything wrong with them."""
    problems = [problem for file in arguments.files if (problem := _unusable(Path(file)))]
    heads, unreadable = (
        _heads([Path(file) for file in arguments.files]) if not problems else ([], [])
    )
    problems += unreadable
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
        *(replay_overrides(heads) if heads else ()),
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


def _heads(files: list[Path]) -> tuple[list[Head], list[Problem]]:
    """What the captures among the files say of themselves, and which files cannot be played.

    Only the beginning of each file is read; the simulator checks the rest.
    """
    heads: list[Head] = []
    problems: list[Problem] = []
    for path in files:
        if path.suffix != SUFFIX:
            if wrong := _wrong_beginning(path):
                problems.append(Problem(str(path), "", f"cannot be played: {wrong}"))
            continue
        try:
            with path.open("rb") as file:
                heads.append(head_of(iter(partial(file.read, 65_536), b"")))
        except CaptureError as error:
            problems.append(Problem(str(path), "", f"cannot be played: {error}"))
    return heads, problems


def _wrong_beginning(path: Path) -> str:
    """Why a file is no gzip of lines ``<receive time ns> <JSON object>``, or an empty text."""
    try:
        with gzip.open(path, "rb") as file:
            line = file.readline(MAX_LINE_BYTES)
    except (OSError, EOFError, zlib.error):
        return f"it is neither a gzip file nor a capture ({SUFFIX})"
    stamp, _, text = line.partition(b" ")
    try:
        if stamp.isdigit() and isinstance(json.loads(text), dict):
            return ""
    except (ValueError, RecursionError):
        pass  # said below
    return "line 1 is not <receive time ns> <JSON>"


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
