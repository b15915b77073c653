"""The difference of two clocks is estimated, told apart from lateness, and never hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.skew import LATE_FOR_NS, WINDOW_NS, DelayMeter, Lateness, SkewEstimate

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
    assert SkewEstimate().minimum_ns is None
    assert SkewEstimate().lateness_ns(10**12) == 0


def test_events_late_for_three_seconds_on_end_are_late_and_one_hiccup_is_not() -> None:
    watch = Lateness(SkewEstimate(), 5.0)
    watch.delays.note(-1_000 * MS)
    assert not watch.look(0, 0)
    watch.delays.note(9_000 * MS)
    assert not watch.look(1, 1)  # a hiccup
    watch.delays.note(9_000 * MS)
    watch.delays.note(-900 * MS)
    assert not watch.look(LATE_FOR_NS, LATE_FOR_NS)  # not all of them were late
    assert watch.worst_ns == 10_000 * MS
    for now_ns in (LATE_FOR_NS + 1, 2 * LATE_FOR_NS):
        watch.delays.note(4_001 * MS)
        assert not watch.look(now_ns, now_ns)
    watch.delays.note(4_001 * MS)
    assert watch.look(2 * LATE_FOR_NS + 1, 2 * LATE_FOR_NS + 1)
    assert watch.look(2 * LATE_FOR_NS + 2, 2 * LATE_FOR_NS + 2)  # nothing came: as it was
    watch.delays.note(0)
    assert not watch.look(2 * LATE_FOR_NS + 3, 2 * LATE_FOR_NS + 3)


def test_a_limit_of_zero_never_calls_anything_late() -> None:
    watch = Lateness(SkewEstimate(), 0.0)
    for now_ns, delay in ((0, 0), (1, 10**15), (10**12, 10**15)):
        watch.delays.note(delay)
        assert not watch.look(now_ns, now_ns)
