"""How soon a thing that keeps failing may be asked for again. Pure; monotonic ns in.

One instance for each thing (a symbol's book): the first time at once, then with the growing,
jittered waits of a backoff, which begin anew after a calm while.
"""

from __future__ import annotations

from typing import Final

from bus.feeds.backoff import Backoff

CALM_NS: Final = 60_000_000_000
"""What has not been asked for in this time has been well."""


class Pace:
    """When to ask again. ``asked_ns`` is when it was last asked for, however that came about."""

    __slots__ = ("_attempt", "_backoff", "_due_ns", "asked_ns")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._attempt = 0
        self._due_ns = 0
        self.asked_ns = 0

    def may_ask(self, now_ns: int, jitter: float) -> bool:
        """Whether it may be asked for now; if so it counts as asked for.

        ``jitter`` in [0, 1] chooses the wait before the time after this.
        """
        if now_ns < self._due_ns:
            return False
        self._attempt = self._attempt + 1 if now_ns - self.asked_ns < CALM_NS else 0
        self._due_ns = now_ns + int(self._backoff.delay_s(self._attempt, jitter) * 1e9)
        self.asked_ns = now_ns
        return True
