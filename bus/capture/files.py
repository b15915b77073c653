"""Names and retention of capture files. Pure: who deletes is told what.

``<capture dir>/<feed>/<UTC date>/<feed>-<HHMMSS>-<n>.mdcap``; the names of one feed sort in the
order of their beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

SUFFIX: Final = ".mdcap"
HOUR_NS: Final = 3_600 * 1_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A finished file: its path under the feed's folder (``2026-01-31/…``), and its size."""

    path: str
    size_bytes: int


def file_path(feed: str, time_ns: int, number: int) -> str:
    """Path under the feed's folder of a file begun at ``time_ns``; ``number`` from 1."""
    at = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%d}/{feed}-{at:%H%M%S}-{number:04d}{SUFFIX}"


def is_due(begun_ns: int, size_bytes: int, now_ns: int, roll_bytes: int) -> bool:
    """Whether the next record belongs into a new file: another UTC hour, or it is full."""
    return size_bytes >= roll_bytes or begun_ns // HOUR_NS != now_ns // HOUR_NS


def to_delete(kept: Sequence[Kept], open_bytes: int, max_bytes: int) -> list[Kept]:
    """The oldest finished files that must go so that all, with the open one, fit."""
    total = open_bytes + sum(file.size_bytes for file in kept)
    gone: list[Kept] = []
    for file in sorted(kept):
        if total <= max_bytes:
            break
        gone.append(file)
        total -= file.size_bytes
    return gone
