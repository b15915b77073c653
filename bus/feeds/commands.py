"""What an operator asks of a running feed: arguments checked, answers shaped. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bus.feeds.errors import CommandRefused

MAX_SYMBOLS: Final = 500
"""Symbols in one command."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A symbol that cannot be added (or removed), why, and what looks like it."""

    symbol: str
    reason: str
    nearest: Sequence[str] = ()


def symbols_argument(arguments: Mapping[str, Any]) -> list[str]:
    """The ``symbols`` of a command, without repeats. Raises CommandRefused."""
    symbols = arguments.get("symbols")
    if not isinstance(symbols, list) or not symbols:
        raise CommandRefused('"symbols" must be a list of at least one symbol')
    if not all(isinstance(symbol, str) and symbol for symbol in symbols):
        raise CommandRefused('"symbols" must hold symbols as text')
    if len(symbols) > MAX_SYMBOLS:
        raise CommandRefused(f"at most {MAX_SYMBOLS} symbols in one command")
    return list(dict.fromkeys(symbols))


def symbols_answer(now: Sequence[str], refusals: Sequence[Refusal]) -> dict[str, Any]:
    """What ``add_symbols`` and ``remove_symbols`` answer: what is served now, what was refused."""
    return {
        "symbols": list(now),
        "refused": [
            {"symbol": one.symbol, "reason": one.reason, "nearest": list(one.nearest)}
            for one in refusals
        ],
    }


def rotation_answer(connections: int, seconds: float, duplicates: int) -> dict[str, Any]:
    """What ``rotate`` answers."""
    return {
        "connections": connections,
        "seconds": round(seconds, 3),
        "duplicates_dropped": duplicates,
    }
