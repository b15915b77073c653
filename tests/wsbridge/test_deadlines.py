"""Deadlines: nobody early, nobody later than a slot, nobody forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.deadlines import SLOT_NS, Deadlines


@dataclass(eq=False)
class One:
    deadline_ns: int


def deadlines_at(now_ns: int) -> Deadlines[One]:
    return Deadlines(now_ns, lambda one: one.deadline_ns)


def test_who_is_overdue_is_given_out_until_the_deadline_moves() -> None:
    deadlines = deadlines_at(0)
    soon, late = One(SLOT_NS), One(100 * SLOT_NS)
    for one in (soon, late):
        deadlines.watch(one)
    assert deadlines.due(SLOT_NS - 1) == []
    assert deadlines.due(3 * SLOT_NS) == [soon]
    assert deadlines.due(5 * SLOT_NS) == [soon], "nothing was done about it"
    soon.deadline_ns = 50 * SLOT_NS
    assert deadlines.due(8 * SLOT_NS) == []
    deadlines.forget(soon)
    deadlines.forget(soon)
    assert deadlines.due(60 * SLOT_NS) == []
    assert len(deadlines) == 1
    assert deadlines.due(101 * SLOT_NS) == [late]


def test_a_deadline_that_moves_forward_is_kept() -> None:
    deadlines = deadlines_at(0)
    one = One(1_000 * SLOT_NS)
    deadlines.watch(one)
    one.deadline_ns = 2 * SLOT_NS
    deadlines.watch(one)
    assert deadlines.due(3 * SLOT_NS) == [one]


def test_a_deadline_in_the_past_comes_at_the_next_slot() -> None:
    deadlines = deadlines_at(10 * SLOT_NS)
    one = One(0)
    deadlines.watch(one)
    assert deadlines.due(11 * SLOT_NS) == [one]


def test_a_crowd_is_given_out_in_handfuls_and_nobody_of_it_twice_in_a_row() -> None:
    deadlines = deadlines_at(0)
    crowd = [One(SLOT_NS * (1 + number % 3)) for number in range(10)]
    for one in crowd:
        deadlines.watch(one)
    now_ns = 5 * SLOT_NS
    handfuls = [deadlines.due(now_ns, 4) for _ in range(4)]
    assert [len(some) for some in handfuls] == [4, 4, 2, 0]
    assert {one for some in handfuls for one in some} == set(crowd)
    assert len(deadlines.due(now_ns + SLOT_NS)) == 10, "nothing was done about them"


def test_a_clock_that_is_set_back_puts_nobody_off() -> None:
    deadlines = deadlines_at(1_000 * SLOT_NS)
    before, after = One(1_010 * SLOT_NS), One(510 * SLOT_NS)
    deadlines.watch(before)
    assert deadlines.due(500 * SLOT_NS) == []
    deadlines.watch(after)
    assert deadlines.due(512 * SLOT_NS) == [after]
    deadlines.forget(after)
    assert deadlines.due(1_012 * SLOT_NS) == [before]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "move", "forget", "time"]),
        st.integers(0, 4),
        st.integers(0, 20 * SLOT_NS),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_agrees_with_a_walk_over_everything(steps: list[tuple[str, int, int]]) -> None:
    deadlines = deadlines_at(0)
    members = [One(0) for _ in range(5)]
    watched: set[One] = set()
    now = 0
    for what, index, number in steps:
        one = members[index]
        if what == "forget":
            deadlines.forget(one)
            watched.discard(one)
        elif what == "time":
            now += number
            found = set(deadlines.due(now))
            assert all(other.deadline_ns <= now for other in found), "nobody early"
            late = {other for other in watched if other.deadline_ns < now - SLOT_NS}
            assert late <= found, "nobody later than a slot"
            for other in found:
                other.deadline_ns = now + SLOT_NS
        elif what == "add" or one in watched:
            one.deadline_ns = now + number
            deadlines.watch(one)
            watched.add(one)
        assert len(deadlines) == len(watched)
