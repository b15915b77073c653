"""A limit holds over any window; headers are read with suspicion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.rate_limit import WINDOW_S, RollingLimit, retry_after_s, used_weight
from bus.simulator.binance.session import Session


@given(
    st.lists(st.tuples(st.floats(0, 0.6), st.floats(0, 0.499)), min_size=1, max_size=60),
    st.floats(0, 20),
)
def test_the_venue_never_counts_too_many_though_messages_bunch_up_on_the_way(
    messages: list[tuple[float, float]], ping_s: float
) -> None:
    limit, venue = RollingLimit(4), Session(combined=True, microseconds=False)
    now_s = arrived_s = 0.0
    for pause_s, held_up_s in messages:
        now_s += pause_s
        if now_s >= ping_s:  # its pong cannot wait; the venue asks every 20 s
            limit.note(now_s)
            arrived_s = max(arrived_s, now_s + held_up_s)
            assert venue.count_frame(int(arrived_s * 1e9))
            ping_s = now_s + 20
        now_s += limit.wait_s(now_s)
        limit.note(now_s)
        arrived_s = max(arrived_s, now_s + held_up_s)  # none overtakes another
        assert venue.count_frame(int(arrived_s * 1e9))


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
    assert limit.wait_s(0.2) == pytest.approx(WINDOW_S - 0.2)
    assert limit.wait_s(WINDOW_S) == 0.0
    limit.note(WINDOW_S)
    assert limit.wait_s(WINDOW_S + 0.05) == pytest.approx(0.05)


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
