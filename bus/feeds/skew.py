"""What the clocks of venue and host are apart, and how late events come. Pure; ns in and out.

An event's delay is its receive time minus the venue's time of it. It holds the difference of the
two clocks, which may be seconds either way, so a delay alone says nothing, and it is published as
it is, never clamped. The least delay seen of late stands for the clocks (and the shortest way);
what an event's delay has above it is its lateness.

Two windows, since two questions are asked. What lateness is counted from must not follow a socket
that slowly falls behind: the least delay of 10 to 20 minutes. What the clocks are apart *now* must
follow both ways, a clock that falls behind as well as one that runs ahead: the least delay of the
last half minute. When this host's own clock is set, the wall clock jumps against the monotonic one:
both windows are moved along at once, and nothing is called late for it. A venue's clock that is set
back cannot be told from events that come late, and is treated as that.
"""

from __future__ import annotations

from typing import Final

WINDOW_NS: Final = 600_000_000_000
"""The least delay is remembered for 10 to 20 minutes: clocks drift and are set."""
RECENT_NS: Final = 15_000_000_000
"""What the clocks are apart now is the least delay of the last 15 to 30 s."""
STEP_NS: Final = 100_000_000
"""A wall clock that moves by more than this between two looks has been set."""
LATE_FOR_NS: Final = 3_000_000_000
"""Events that come late for so long are late; one hiccup is not."""


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


class _Window:
    """The least value of one to two periods of ``length_ns``."""

    __slots__ = ("_began_ns", "_current_ns", "_length_ns", "_previous_ns")

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._began_ns = 0
        self._current_ns: int | None = None
        self._previous_ns: int | None = None

    def note(self, value_ns: int, now_mono_ns: int) -> None:
        if self._current_ns is None or now_mono_ns - self._began_ns >= self._length_ns:
            self._previous_ns = self._current_ns
            self._current_ns = value_ns
            self._began_ns = now_mono_ns
        else:
            self._current_ns = min(self._current_ns, value_ns)

    def shift(self, step_ns: int) -> None:
        if self._current_ns is not None:
            self._current_ns += step_ns
        if self._previous_ns is not None:
            self._previous_ns += step_ns

    @property
    def minimum_ns(self) -> int | None:
        if self._current_ns is None or self._previous_ns is None:
            return self._current_ns
        return min(self._current_ns, self._previous_ns)


class SkewEstimate:
    """The running minimum of the delays of one venue, over all its connections."""

    __slots__ = ("_long", "_offset_ns", "_recent", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self._long = _Window(WINDOW_NS)
        self._recent = _Window(RECENT_NS)
        self._offset_ns: int | None = None

    def note(self, least_delay_ns: int, now_mono_ns: int) -> None:
        """The least delay of an interval."""
        self._long.note(least_delay_ns, now_mono_ns)
        self._recent.note(least_delay_ns, now_mono_ns)

    def clock(self, wall_ns: int, now_mono_ns: int) -> None:
        """The host's two clocks at one moment; ``steps`` counts how often the wall was set."""
        offset_ns = wall_ns - now_mono_ns
        step_ns = 0 if self._offset_ns is None else offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if abs(step_ns) >= STEP_NS:
            self.steps += 1
            self._long.shift(step_ns)
            self._recent.shift(step_ns)

    @property
    def minimum_ns(self) -> int | None:
        """The estimate that lateness is counted from; None before the first event."""
        return self._long.minimum_ns

    @property
    def recent_ns(self) -> int | None:
        """The least delay of the last half minute: what the clocks are apart now, either way."""
        return self._recent.minimum_ns

    def lateness_ns(self, delay_ns: int) -> int:
        """What a delay has above the estimate; below 0 if it is the least so far."""
        minimum_ns = self.minimum_ns
        return 0 if minimum_ns is None else delay_ns - minimum_ns


class Lateness:
    """Whether the events of one connection come late for a while: a slow, rotten socket.

    Not a hiccup: even the least late event of each look must be late, for 3 s on end. ``limit_s``
    0 = never. ``delays`` takes each event's delay; ``worst_ns`` is the worst lateness of the last
    interval with events.
    """

    __slots__ = ("_limit_ns", "_since_ns", "_skew", "_steps", "delays", "is_late", "worst_ns")

    def __init__(self, skew: SkewEstimate, limit_s: float) -> None:
        self._skew = skew
        self._limit_ns = int(limit_s * 1e9)
        self._since_ns: int | None = None
        self._steps = 0
        self.delays = DelayMeter()
        self.is_late = False
        self.worst_ns = 0

    def look(self, now_mono_ns: int, wall_ns: int) -> bool:
        """Call a few times a second, with both clocks; ``is_late`` as it is now."""
        interval = self.delays.take()
        self._skew.clock(wall_ns, now_mono_ns)
        if self._steps != self._skew.steps:
            self._steps = self._skew.steps
            return self.is_late  # some of these delays are by the clock as it was
        if interval is None:
            return self.is_late
        least_ns, worst_ns = interval
        self._skew.note(least_ns, now_mono_ns)
        self.worst_ns = self._skew.lateness_ns(worst_ns)
        if not self._limit_ns or self._skew.lateness_ns(least_ns) < self._limit_ns:
            self._since_ns = None
            self.is_late = False
            return False
        if self._since_ns is None:
            self._since_ns = now_mono_ns
        self.is_late = now_mono_ns - self._since_ns >= LATE_FOR_NS
        return self.is_late
