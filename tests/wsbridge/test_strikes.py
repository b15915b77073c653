"""Offences and when they are enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.strikes import Strikes


def test_three_within_the_window_are_enough() -> None:
    strikes = Strikes(3, 100)
    assert [strikes.add(at) for at in (0, 60, 101, 150, 160, 300)] == [
        False, False, False, True, True, False,
    ]  # fmt: skip


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 5))
def test_it_is_as_counting_those_within_the_window(steps: list[int], most: int) -> None:
    strikes, times, now = Strikes(most, 50), [], 0
    for step in steps:
        now += step
        times.append(now)
        near = [at for at in times if now - at <= 50]
        assert strikes.add(now) is (len(near) >= most)
