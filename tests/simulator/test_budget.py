"""REST budgets: refusal, ban, and being let in again."""

from __future__ import annotations

from bus.simulator.budget import (
    FIRST_BAN_S,
    MAX_CALLERS,
    MINUTE_NS,
    SECOND_NS,
    TOLERATED_REFUSALS,
    Budget,
)

T0 = 28_000_000 * MINUTE_NS


def test_weight_adds_up_within_a_minute_and_starts_again_in_the_next() -> None:
    budget = Budget(100, bans=True)
    assert budget.charge("a", 40, T0).used == 40
    assert budget.charge("a", 40, T0 + SECOND_NS).used == 80
    assert budget.charge("a", 40, T0 + MINUTE_NS).used == 40


def test_above_the_limit_is_429_until_the_minute_is_over() -> None:
    budget = Budget(100, bans=True)
    budget.charge("a", 100, T0)
    verdict = budget.charge("a", 1, T0 + 15 * SECOND_NS)
    assert (verdict.status, verdict.retry_after_s) == (429, 45)


def test_callers_do_not_share_a_budget() -> None:
    budget = Budget(100, bans=True)
    budget.charge("a", 101, T0)
    assert budget.charge("b", 1, T0).status == 200


def test_going_on_after_refusals_brings_a_ban() -> None:
    budget = Budget(1, bans=True)
    statuses = [budget.charge("a", 1, T0).status for _ in range(TOLERATED_REFUSALS + 2)]
    assert statuses == [200, *[429] * TOLERATED_REFUSALS, 418]
    banned = budget.charge("a", 1, T0 + SECOND_NS)
    assert (banned.status, banned.retry_after_s) == (418, FIRST_BAN_S - 1)
    assert banned.banned_until_ns == T0 + FIRST_BAN_S * SECOND_NS


def test_the_second_ban_is_twice_as_long() -> None:
    budget = Budget(1, bans=True)
    for _ in range(TOLERATED_REFUSALS + 2):
        budget.charge("a", 1, T0)
    later_ns = T0 + FIRST_BAN_S * SECOND_NS
    verdicts = [budget.charge("a", 1, later_ns) for _ in range(TOLERATED_REFUSALS + 2)]
    assert (verdicts[0].status, verdicts[-1].retry_after_s) == (200, 2 * FIRST_BAN_S)


def test_without_bans_it_stays_429() -> None:
    budget = Budget(1, bans=False)
    assert {budget.charge("a", 1, T0).status for _ in range(50)} == {200, 429}


def test_the_callers_remembered_are_bounded() -> None:
    budget = Budget(1, bans=True)
    budget.charge("first", 5, T0)
    for number in range(MAX_CALLERS):
        budget.charge(f"caller {number}", 1, T0)
    assert budget.charge("first", 1, T0).used == 1
