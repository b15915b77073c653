"""The two clocks."""

from __future__ import annotations

import time

from bus import clock


def test_wall_time_is_in_nanoseconds_since_1970() -> None:
    assert abs(clock.now_ns() / clock.NS_PER_SECOND - time.time()) < 5


def test_monotonic_time_does_not_go_back() -> None:
    times = [clock.monotonic_ns() for _ in range(1000)]
    assert times == sorted(times)
