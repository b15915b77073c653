"""The wait grows, is capped, has full jitter, and never ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.backoff import Backoff


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"),
    [(0, 0.0, 0.25), (0, 1.0, 0.5), (1, 1.0, 1.0), (2, 1.0, 2.0), (6, 1.0, 30.0), (50, 1.0, 30.0)],
)
def test_the_window_doubles_up_to_its_cap(attempt: int, jitter: float, expected: float) -> None:
    assert Backoff().delay_s(attempt, jitter) == expected


def test_jitter_reaches_down_to_the_floor_even_at_the_cap() -> None:
    assert Backoff().delay_s(1_000, 0.0) == 0.25


@given(st.integers(-5, 10**9), st.floats(-1, 2))
def test_it_is_always_between_floor_and_cap(attempt: int, jitter: float) -> None:
    assert 0.25 <= Backoff().delay_s(attempt, jitter) <= 30.0


def test_a_cap_below_the_floor_wins() -> None:
    assert Backoff(floor_s=5, cap_s=1).delay_s(3, 1.0) == 1
