"""One ledger keeps many askers inside a venue's budget, whatever becomes of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.budget import AttemptLedger, Priority, WeightLedger

T0 = 1_800_000_000.0


def test_weight_runs_out_and_comes_back_with_the_next_minute() -> None:
    ledger = WeightLedger()
    assert ledger.ask("a", 60, 1, 100, T0) == 0.0
    ledger.answered("a", None, T0 + 0.1)
    assert ledger.ask("b", 40, 1, 100, T0 + 1) == 0.0
    ledger.answered("b", None, T0 + 1)
    assert ledger.ask("c", 1, 1, 100, T0 + 1) == pytest.approx(59.0)
    assert ledger.ask("c", 1, 1, 100, T0 + 60) == 0.0


def test_the_venues_own_count_replaces_ours() -> None:
    ledger = WeightLedger()
    ledger.ask("a", 10, 1, 100, T0)
    ledger.answered("a", 95, T0 + 1)  # others share our address
    assert ledger.ask("b", 10, 1, 100, T0 + 1) == pytest.approx(59.0)
    ledger.answered("x", None, T0 + 2)
    assert ledger.used(T0 + 2) == 95


def test_what_is_under_way_counts_on_top_of_what_the_venue_told() -> None:
    ledger = WeightLedger()
    for who in "abc":
        assert ledger.ask(who, 50, 1, 150, T0) == 0.0
    ledger.answered("a", 50, T0)  # the venue has not seen b and c
    assert ledger.used(T0) == 150
    assert ledger.ask("d", 50, 1, 150, T0) > 0


def test_a_call_dearer_than_the_whole_budget_goes_when_nothing_is_used() -> None:
    ledger = WeightLedger()
    assert ledger.ask("a", 250, 1, 100, T0) == 0.0
    assert ledger.ask("b", 1, 1, 100, T0 + 1) > 0


@pytest.mark.parametrize(
    ("status", "retry_after", "waits"),
    [(429, 7.0, 7.0), (429, None, 60.0), (418, 300.0, 300.0), (418, None, 120.0), (429, 0.0, 0.0)],
)
def test_a_refusal_stops_every_call(status: int, retry_after: float | None, waits: float) -> None:
    ledger = WeightLedger()
    assert ledger.refused(status, retry_after, T0) == pytest.approx(waits)
    assert ledger.ask("a", 1, 0, 0, T0) == pytest.approx(waits)
    assert ledger.ask("a", 1, 0, 0, T0 + waits) == 0.0
    stats = ledger.stats(0, T0)
    assert (stats.banned, stats.refused) == (status == 418 and waits > 0, 1)


def test_a_shorter_refusal_does_not_shorten_a_ban() -> None:
    ledger = WeightLedger()
    ledger.refused(418, 300.0, T0)
    ledger.refused(429, 1.0, T0 + 1)
    assert ledger.ask("a", 1, 0, 0, T0 + 1) == pytest.approx(299.0)
    assert ledger.stats(0, T0 + 1).banned


def test_the_most_urgent_goes_first_then_the_first_that_came() -> None:
    ledger = WeightLedger()
    ledger.refused(429, 1.0, T0)
    for order, (who, priority) in enumerate(
        [("refresh", Priority.REFRESH), ("start", Priority.START), ("start2", Priority.START),
         ("resync", Priority.RESYNC)]
    ):  # fmt: skip
        assert ledger.ask(who, 5, priority, 100, T0 + order * 0.01) > 0
    now_s = T0 + 1.1
    for who in ("resync", "start", "start2"):
        for later in ("refresh", "start2"):
            if later != who:
                assert ledger.ask(later, 5, {"refresh": 2, "start2": 1}[later], 100, now_s) > 0
        assert ledger.ask(who, 5, 0 if who == "resync" else 1, 100, now_s) == 0.0
    assert ledger.ask("refresh", 5, Priority.REFRESH, 100, now_s) == 0.0


def test_a_waiter_that_was_killed_holds_nobody_up_for_long() -> None:
    ledger = WeightLedger()
    ledger.refused(429, 1.0, T0)
    ledger.ask("killed", 5, Priority.RESYNC, 100, T0)
    assert ledger.ask("other", 5, Priority.START, 100, T0 + 1.5) > 0
    assert ledger.ask("other", 5, Priority.START, 100, T0 + 2.1) == 0.0


def test_a_call_whose_end_is_never_told_counts_for_a_while_only() -> None:
    ledger = WeightLedger()
    for number in range(8):
        assert ledger.ask(f"killed{number}", 1, 1, 0, T0) == 0.0
    assert ledger.ask("other", 1, 1, 0, T0 + 1) > 0  # eight are under way
    assert ledger.ask("other", 1, 1, 0, T0 + 31) == 0.0


def test_what_a_wrong_clock_wrote_does_not_block_for_ever() -> None:
    ledger = WeightLedger()
    future = T0 + 10**8
    ledger.ask("a", 50, 0, 50, future)
    ledger.refused(418, 300.0, future)
    assert ledger.ask("b", 50, 0, 50, T0) == 0.0


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([5, 25, 50, 250]), st.floats(0, 20)),
        max_size=60,
    )
)
def test_the_budget_of_a_minute_is_never_exceeded(asks: list[tuple[int, int, float]]) -> None:
    ledger, now_s, limit = WeightLedger(), T0, 300
    granted: list[tuple[float, int]] = []
    window_end_s = 0.0
    for number, (priority, weight, pause) in enumerate(asks):
        now_s += pause
        if now_s >= window_end_s:
            granted, window_end_s = [], now_s + 60
        if ledger.ask(str(number), weight, priority, limit, now_s) == 0.0:
            granted.append((now_s, weight))
            ledger.answered(str(number), None, now_s)
        else:
            ledger.withdraw(str(number))
        ledger = msgspec.json.decode(msgspec.json.encode(ledger), type=WeightLedger)
        assert sum(weight for _, weight in granted) <= limit


@given(st.lists(st.floats(0, 30), max_size=100))
def test_no_window_holds_more_attempts_than_allowed(pauses: list[float]) -> None:
    ledger, now_s = AttemptLedger(), T0
    taken: list[float] = []
    for pause in pauses:
        now_s += pause
        if ledger.take(5, 60.0, now_s) == 0.0:
            taken.append(now_s)
    for at in taken:
        assert sum(at <= other < at + 60.0 for other in taken) <= 5


def test_a_refused_address_makes_no_attempt() -> None:
    ledger = AttemptLedger()
    ledger.refused(10.0, T0)
    assert ledger.take(5, 60.0, T0 + 1) == pytest.approx(9.0)
    assert ledger.take(5, 60.0, T0 + 10) == 0.0
