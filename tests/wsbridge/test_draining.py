"""Who is told what when a bridge drains, and when each connection is closed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config.bridge import CLOSES_PER_S, BridgeSettings
from bus.wsbridge.draining import MAX_RETURN_MS, Draining
from bus.wsbridge.turns import TURN_S


def run(draining: Draining[int], now_s: float, until_s: float) -> dict[int, float]:
    """When each client is closed, looked at once a turn."""
    closed: dict[int, float] = {}
    while now_s < until_s:
        for client in draining.due(now_s):
            closed[client] = now_s
        now_s += TURN_S
    return closed


@given(
    clients=st.integers(0, 1_500),
    drain_s=st.floats(0.0, 10.0),
    begun_s=st.floats(0.0, 1e6),
)
def test_everybody_has_half_the_drain_between_going_and_being_closed(
    clients: int, drain_s: float, begun_s: float
) -> None:
    draining = Draining(range(clients), drain_s, begun_s)
    row_s = max(drain_s / 2, clients / CLOSES_PER_S)
    closed = run(draining, begun_s, begun_s + row_s + drain_s / 2 + 3 * TURN_S + 0.1)
    assert closed.keys() == draining.notices.keys() == set(range(clients))
    for client, notice in draining.notices.items():
        told_s = begun_s + notice.retry_after_ms / 1e3
        assert begun_s <= told_s <= begun_s + row_s + 0.001
        assert closed[client] - told_s >= drain_s / 2 - 0.002
        assert notice.reconnect_within_ms >= notice.retry_after_ms
    assert 0 <= draining.return_ms <= min(MAX_RETURN_MS, drain_s * 500)


@pytest.mark.parametrize("drain_s", [0.0, 0.1, 3.0])
def test_no_more_than_200_come_back_or_are_closed_in_a_second(drain_s: float) -> None:
    draining = Draining(range(2_500), drain_s, 100.0)
    closed = run(draining, 100.0, 100.0 + 2_500 / 200 + drain_s / 2 + 0.2)
    comes = [100 + n.retry_after_ms / 1e3 for n in draining.notices.values()]
    for times in (sorted(closed.values()), sorted(comes)):
        assert len(times) == 2_500
        for first, last in zip(times, times[CLOSES_PER_S + 21 :], strict=False):
            assert last - first > 1.0 - 0.002


def test_a_loop_that_stood_still_closes_what_it_has_missed_and_no_burst_more() -> None:
    draining = Draining(range(1_000), 0.0, 0.0)
    assert len(draining.due(1.5)) <= CLOSES_PER_S
    assert len(draining.due(1.55)) <= CLOSES_PER_S * 0.05 + 1


def test_who_comes_in_late_has_as_long_as_the_others() -> None:
    draining: Draining[int] = Draining([], 2.0, 50.0)
    assert draining.due(50.0) == []
    first, second = draining.join(1, 51.0), draining.join(2, 51.0)
    assert first.reconnect_within_ms - first.retry_after_ms == 1_000
    assert second.retry_after_ms > first.retry_after_ms
    assert draining.due(51.9) == []
    assert draining.due(53.0) == [1, 2]


def test_what_the_settings_promise_is_as_long_as_the_longest_drain() -> None:
    settings = BridgeSettings(max_connections=3_000, drain_s=4.0, close_timeout_s=1.0)
    draining = Draining(range(3_000), 4.0, 0.0)
    closed = run(draining, 0.0, settings.farewell_s - settings.close_timeout_s + 2 * TURN_S)
    assert len(closed) == 3_000
    assert settings.stop_s > settings.farewell_s == 15.0 + 2.0 + 1.0
