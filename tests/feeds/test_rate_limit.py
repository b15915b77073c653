"""Limits hold over any window, and the venue's own word counts more than our sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.rate_limit import RollingLimit, WeightLimit, retry_after_s, used_weight


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


def test_weight_runs_out_and_comes_back_with_the_next_minute() -> None:
    limit = WeightLimit(100)
    limit.spend(60, 0.0)
    assert limit.wait_s(40, 1.0) == 0.0
    assert limit.wait_s(41, 1.0) == pytest.approx(59.0)
    assert limit.wait_s(41, 60.0) == 0.0


def test_the_venues_own_count_replaces_ours() -> None:
    limit = WeightLimit(100)
    limit.spend(10, 0.0)
    limit.answered(95, 1.0)  # others share our address
    assert limit.wait_s(10, 1.0) == pytest.approx(59.0)
    limit.answered(None, 2.0)
    assert limit.stats(2.0).used == 95


def test_a_call_dearer_than_the_whole_budget_goes_when_nothing_is_used() -> None:
    limit = WeightLimit(100)
    assert limit.wait_s(250, 0.0) == 0.0
    limit.spend(250, 0.0)
    assert limit.wait_s(1, 1.0) == pytest.approx(59.0)


@pytest.mark.parametrize(
    ("status", "retry_after", "waits"),
    [(429, 7.0, 7.0), (429, None, 60.0), (418, 300.0, 300.0), (418, None, 120.0), (429, 0.0, 0.0)],
)
def test_a_refusal_stops_every_call(status: int, retry_after: float | None, waits: float) -> None:
    limit = WeightLimit(0)
    assert limit.refused(status, retry_after, 10.0) == pytest.approx(waits)
    assert limit.wait_s(1, 10.0) == pytest.approx(waits)
    assert limit.wait_s(1, 10.0 + waits) == 0.0
    assert limit.stats(10.0).banned == (status == 418)
    assert limit.stats(10.0).refused == 1


def test_a_shorter_refusal_does_not_shorten_a_ban() -> None:
    limit = WeightLimit(0)
    limit.refused(418, 300.0, 0.0)
    limit.refused(429, 1.0, 1.0)
    assert limit.wait_s(1, 1.0) == pytest.approx(299.0)


def test_the_budget_can_be_changed() -> None:
    limit = WeightLimit(10)
    limit.spend(10, 0.0)
    limit.allow(20)
    assert limit.wait_s(10, 0.0) == 0.0


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
