"""What the clocks of venue and host are apart, and how late events come. Pure; ns in and out.

An event's delay is its receive time minus the venue's time of it. It holds the difference of the
two clocks, which may be seconds either way, so a delay alone says nothing, and it is published as
it is, never clamped. The least delay seen of late stands for the clocks (and the shortest way);
what an event's delay has above it is its lateness.
"""

from __future__ import annotations

from typing import Final

WINDOW_NS: Final = 600_000_000_000
"""The least delay is remembered for 10 to 20 minutes: clocks drift and are set."""


class DelayMeter:
    """The delays of one connection since last asked. ``note`` is in the hot path."""

    __slots__ = ("count", "least_ns", "worst_ns")

    def __init__(self) -> None:
        self.count = 0
        self.least_ns = 0
        self.worst_ns = 0

    def note(self, delay_ns: int) -> None:
        """One event's receive time minus its venue time."""
        if not self.count:
            self.least_ns = self.worst_ns = delay_ns
        elif delay_ns < self.least_ns:
            self.least_ns = delay_ns
        elif delay_ns > self.worst_ns:
            self.worst_ns = delay_ns
        self.count += 1

    def take(self) -> tuple[int, int] | None:
        """Least and worst delay since the last call; None when nothing came."""
        if not self.count:
            return None
        self.count = 0
        return self.least_ns, self.worst_ns


class SkewEstimate:
    """The running minimum of the delays of one venue, over all its connections."""

    __slots__ = ("_began_ns", "_current_ns", "_previous_ns")

    def __init__(self) -> None:
        self._began_ns = 0
        self._current_ns: int | None = None
        self._previous_ns: int | None = None

    def note(self, least_delay_ns: int, now_mono_ns: int) -> None:
        """The least delay of an interval."""
        if self._current_ns is None or now_mono_ns - self._began_ns >= WINDOW_NS:
            self._previous_ns = self._current_ns
            self._current_ns = least_delay_ns
            self._began_ns = now_mono_ns
        else:
            self._current_ns = min(self._current_ns, least_delay_ns)

    @property
    def minimum_ns(self) -> int | None:
        """The estimate; None before the first event."""
        if self._current_ns is None or self._previous_ns is None:
            return self._current_ns
        return min(self._current_ns, self._previous_ns)

    def lateness_ns(self, delay_ns: int) -> int:
        """What a delay has above the estimate; below 0 if it is the least so far."""
        minimum_ns = self.minimum_ns
        return 0 if minimum_ns is None else delay_ns - minimum_ns
