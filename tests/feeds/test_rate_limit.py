"""A limit holds over any window; headers are read with suspicion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.rate_limit import RollingLimit, retry_after_s, used_weight


@given(st.lists(st.floats(0, 0.6), min_size=1, max_size=60))
def test_no_second_ever_holds_more_than_the_limit(pauses: list[float]) -> None:
    limit = RollingLimit(4)
    now_s = 0.0
    sent: list[float] = []
    for pause in pauses:
        now_s += pause
        now_s += limit.wait_s(now_s)
        limit.note(now_s)
        sent.append(now_s)
    for index, start in enumerate(sent):
        assert sum(start <= at < start + 0.999999 for at in sent[index:]) <= 4


def test_a_message_that_could_not_wait_counts() -> None:
    limit = RollingLimit(2)
    limit.note(0.0)
    limit.note(0.1)  # a pong
    assert limit.wait_s(0.2) == pytest.approx(0.8)
    assert limit.wait_s(1.0) == 0.0
    limit.note(1.0)
    assert limit.wait_s(1.05) == pytest.approx(0.05)


def test_no_limit_never_waits() -> None:
    limit = RollingLimit(0)
    for _ in range(100):
        limit.note(0.0)
    assert limit.wait_s(0.0) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("12", 12.0),
        (" 3 ", 3.0),
        ("-1", None),
        ("1.5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("9999999999999999", 259_200.0),
        ("\u0663", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "weight"),
    [(None, None), ("", None), ("71", 71), ("-1", None), ("x", None), ("9" * 30, None)],
)
def test_used_weight(text: str | None, weight: int | None) -> None:
    assert used_weight(text) == weight
