"""The difference of two clocks is estimated, told apart from lateness, and never hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.skew import (
    LATE_FOR_NS,
    RECENT_NS,
    STEP_NS,
    WINDOW_NS,
    DelayMeter,
    Lateness,
    SkewEstimate,
)

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


def test_what_the_clocks_are_apart_now_follows_both_ways_within_half_a_minute() -> None:
    skew = SkewEstimate()
    skew.note(0, 0)
    skew.note(5_000 * MS, RECENT_NS)  # the venue's clock has fallen behind
    assert skew.recent_ns == 0
    skew.note(5_000 * MS, 2 * RECENT_NS)
    assert skew.recent_ns == 5_000 * MS
    assert skew.minimum_ns == 0, "lateness is counted from it for longer"
    skew.note(-5_000 * MS, 2 * RECENT_NS + 1)
    assert skew.recent_ns == skew.minimum_ns == -5_000 * MS


@given(st.integers(-(10**13), 10**13), st.integers(0, 10**9))
def test_a_clock_of_ours_that_is_set_makes_nothing_late_and_moves_the_estimates(
    step_ns: int, wall_ns: int
) -> None:
    watch, skew = (lambda made: (Lateness(made, 5.0), made))(SkewEstimate())
    watch.delays.note(10)
    watch.look(0, wall_ns)
    second_ns = 1_000 * MS
    for number in range(1, 20):
        set_ns = step_ns if number >= 5 else 0
        watch.delays.note(10 + set_ns)  # as measured by the clock that was set
        late = watch.look(number * second_ns, wall_ns + number * second_ns + set_ns)
        assert not late or abs(step_ns) < STEP_NS
    if abs(step_ns) >= STEP_NS:
        assert skew.minimum_ns == skew.recent_ns == 10 + step_ns
        assert skew.steps == 1


def test_delays_measured_with_the_old_clock_do_not_become_the_yardstick() -> None:
    skew = SkewEstimate()
    first, second = Lateness(skew, 5.0), Lateness(skew, 5.0)
    for watch in (first, second):
        watch.delays.note(0)
        watch.look(0, 0)
        watch.delays.note(0)  # by the old clock, looked at with the new one
    step_ns = 60_000 * MS
    for watch in (first, second):
        watch.look(1, 1 + step_ns)
    assert skew.minimum_ns == step_ns
    for watch in (first, second):
        watch.delays.note(step_ns)
        assert not watch.look(2, 2 + step_ns)
        assert watch.worst_ns == 0


def test_drifting_apart_slowly_is_no_step() -> None:
    skew = SkewEstimate()
    for number in range(100):
        skew.clock(number * (1_000 * MS + STEP_NS - 1), number * 1_000 * MS)
    assert skew.steps == 0
