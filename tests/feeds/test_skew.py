"""The difference of two clocks is estimated, told apart from lateness, and never hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.skew import WINDOW_NS, DelayMeter, SkewEstimate

MS = 1_000_000


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=50))
def test_a_meter_gives_the_least_and_the_worst_since_last_asked(delays: list[int]) -> None:
    meter = DelayMeter()
    for delay in delays:
        meter.note(delay)
    assert meter.take() == (min(delays), max(delays))
    assert meter.take() is None


def test_a_clock_that_is_behind_gives_a_negative_estimate() -> None:
    skew = SkewEstimate()
    assert skew.minimum_ns is None
    skew.note(-1_273 * MS, 1)
    skew.note(-1_250 * MS, 2)
    assert skew.minimum_ns == -1_273 * MS
    assert skew.lateness_ns(-1_250 * MS) == 23 * MS


def test_an_old_minimum_is_forgotten_when_clocks_have_drifted() -> None:
    skew = SkewEstimate()
    skew.note(-500 * MS, 0)
    skew.note(100 * MS, WINDOW_NS)
    assert skew.minimum_ns == -500 * MS  # of the window before
    skew.note(100 * MS, 2 * WINDOW_NS)
    assert skew.minimum_ns == 100 * MS


def test_before_the_first_event_nothing_is_late() -> None:
    assert SkewEstimate().lateness_ns(10**12) == 0
