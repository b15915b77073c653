"""A bucket of permissions that fills at a steady rate: the one rule behind every rate limit. Pure.

Kept as one number, the time at which the bucket is full again (the generic cell rate algorithm),
so that it fits into a shared table. ``burst`` permissions may be taken at once, then one every
``period_ns / burst``. A time further ahead than a whole period was written by a clock that has
been set back since, and counts as now: a wrong clock locks nobody out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` permissions at once, and as many again in every ``period_ns``."""

    burst: int
    period_ns: int

    @classmethod
    def per_second(cls, rate: float, burst: int) -> Rate:
        """``rate`` permissions a second, at most ``burst`` at once."""
        return cls(burst, max(1, int(burst / rate * 1_000_000_000)))

    def take(self, full_at_ns: int, now_ns: int) -> tuple[int, int]:
        """Take one: (the new state, 0), or (the old state, nanoseconds until there is one)."""
        start_ns = max(full_at_ns, now_ns) if full_at_ns - now_ns <= self.period_ns else now_ns
        one_ns = self.period_ns // self.burst
        wait_ns = start_ns + one_ns - now_ns - self.period_ns
        if wait_ns > 0:
            return full_at_ns, wait_ns
        return start_ns + one_ns, 0


class Bucket:
    """A bucket of one owner in this process."""

    __slots__ = ("_full_at_ns", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at_ns = 0

    def take(self, now_ns: int) -> int:
        """0: taken. Otherwise the nanoseconds until there is one to take."""
        self._full_at_ns, wait_ns = self._rate.take(self._full_at_ns, now_ns)
        return wait_ns
