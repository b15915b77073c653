"""How a session holds its connection, and how it says that it lost it: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bus.feeds.backoff import Backoff
from bus.feeds.capture import Capture

INCURABLE: Final = frozenset({"unauthorized", "limited", "restricted"})
"""Reasons for a loss that trying again soon does not cure: the feed is down at once."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How to hold one connection. Times in seconds.

    ``unauthorized_retry_s``: the wait after a refusal that is not cured soon (401, 451).
    """

    name: str
    connect_timeout_s: float = 10.0
    max_frame_bytes: int = 32 * 1024 * 1024
    messages_per_s: int = 4
    rotate_after_s: float = 0.0
    unauthorized_retry_s: float = 300.0
    backoff: Backoff = Backoff()
    capture: Capture | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a connection is down: ``reason`` one word, ``detail`` prose without secrets.

    ``retry_in_s`` is the wait before the next attempt, ``attempt`` its number (0 = first).
    """

    reason: str
    detail: str
    retry_in_s: float
    attempt: int
