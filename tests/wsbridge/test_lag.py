"""The p99 of delays: never below the truth, never more than an eighth above it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.lag import LagGauge

INTERVAL_NS = 1_000


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=300))
def test_the_p99_is_that_of_the_sorted_list(lags_us: list[int]) -> None:
    gauge = LagGauge(INTERVAL_NS)
    for lag_us in lags_us:
        gauge.add(lag_us * 1000)
    exact = sorted(lags_us)[len(lags_us) - len(lags_us) // 100 - 1]
    assert exact <= gauge.p99_us(1) <= exact * 1.13 + 1


def test_it_is_that_of_the_last_whole_interval() -> None:
    gauge = LagGauge(INTERVAL_NS)
    assert gauge.p99_us(1) == 0
    gauge.add(5_000)
    assert gauge.p99_us(1 + INTERVAL_NS) == 5
    gauge.add(9_000)
    assert gauge.p99_us(2 + INTERVAL_NS) == 5
    assert gauge.p99_us(1 + 2 * INTERVAL_NS) == 9


def test_a_clock_that_runs_behind_counts_as_no_delay() -> None:
    gauge = LagGauge(INTERVAL_NS)
    gauge.add(-50)
    assert gauge.p99_us(1) == 0


def test_since_the_start_nothing_is_forgotten() -> None:
    gauge = LagGauge(1_000)
    gauge.p99_us(1)
    for lag_us in (3, 100, 100, 5_000, 200_000_000):
        gauge.add(lag_us * 1_000)
        gauge.p99_us(lag_us * 10_000)
    bounds, sum_us = gauge.cumulative()
    assert sum_us == 200_005_203
    assert [bound for bound, _ in bounds] == sorted({bound for bound, _ in bounds})
    assert dict(bounds)[15] == 1
    assert dict(bounds)[127] == 3
    assert dict(bounds)[8191] == 4
    assert bounds[-1][1] == 5, "what is longer than the last bound is in the last one"
