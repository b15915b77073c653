"""The bucket: never more than it holds, always again after the time it told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.limits.bucket import Bucket, Rate

T0_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


def test_a_burst_and_then_one_at_a_time() -> None:
    bucket = Bucket(Rate.per_second(10, 50))
    assert [bucket.take(T0_NS) for _ in range(50)] == [0] * 50
    assert bucket.take(T0_NS) == S // 10
    assert bucket.take(T0_NS + S // 10) == 0
    assert bucket.take(T0_NS + S // 10) == S // 10
    assert [bucket.take(T0_NS + 10 * S) for _ in range(51)].count(0) == 50


def test_a_clock_set_back_locks_nobody_out() -> None:
    rate = Rate(30, 60 * S)
    full_at_ns = 0
    for _ in range(30):
        full_at_ns, wait_ns = rate.take(full_at_ns, T0_NS)
        assert wait_ns == 0
    _, wait_ns = rate.take(full_at_ns, T0_NS - 3_600 * S)
    assert wait_ns == 0


@given(
    st.integers(1, 60),
    st.integers(1, 120),
    st.lists(st.integers(0, 5 * S), min_size=1, max_size=120),
)
def test_no_window_has_more_than_its_share(burst: int, period_s: int, steps: list[int]) -> None:
    rate = Rate(burst, period_s * S)
    full_at_ns, now_ns = 0, T0_NS
    taken: list[int] = []
    for step in steps:
        now_ns += step
        full_at_ns, wait_ns = rate.take(full_at_ns, now_ns)
        if wait_ns:
            assert 0 < wait_ns <= rate.period_ns
            assert rate.take(full_at_ns, now_ns + wait_ns)[1] == 0, "the told wait is enough"
            assert rate.take(full_at_ns, now_ns + wait_ns - 1)[1] > 0, "and not too long"
        else:
            taken.append(now_ns)
    one_ns = rate.period_ns // burst
    for index, first_ns in enumerate(taken):
        for count, last_ns in enumerate(taken[index:], 1):
            assert count <= burst + (last_ns - first_ns) // one_ns + 1
