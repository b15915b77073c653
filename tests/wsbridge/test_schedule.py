"""What is due when: each thing once, in order of time, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.schedule import Schedule


def test_a_thing_is_due_once_at_the_time_it_was_first_given() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 10)
    schedule.add("a", 5)
    schedule.add("b", 7)
    assert schedule.next_ns == 7
    assert schedule.take_due(6) == []
    assert schedule.take_due(10) == ["b", "a"]
    assert schedule.take_due(99) == []
    assert schedule.next_ns is None


def test_a_clock_set_back_makes_everything_due() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.take_due(1_000) == []
    schedule.add("a", 2_000)
    assert schedule.take_due(500) == ["a"]


def test_what_is_due_can_be_taken_bit_by_bit_also_after_the_clock_was_set_back() -> None:
    schedule: Schedule[str] = Schedule()
    for number, thing in enumerate("abcd"):
        schedule.add(thing, 1_000 + number)
    assert schedule.take_due(1_001, 1) == ["a"]
    assert schedule.take_due(1_001, 1) == ["b"]
    assert schedule.take_due(1_001, 1) == []
    assert schedule.take_due(500, 1) == ["c"]
    schedule.add("c", 510)
    assert schedule.take_due(500, 9) == ["d"], "what is planned anew is not due with the rest"
    assert schedule.next_ns == 510


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 20))))
def test_it_is_what_a_dictionary_of_times_would_be(
    steps: list[tuple[str, bool, int]],
) -> None:
    schedule: Schedule[str] = Schedule()
    model: dict[str, int] = {}
    for thing, is_added, at_ns in steps:
        if is_added:
            schedule.add(thing, at_ns)
            model.setdefault(thing, at_ns)
        else:
            schedule.discard(thing)
            model.pop(thing, None)
        assert len(schedule) == len(model)
        assert schedule.next_ns == min(model.values(), default=None)
    assert sorted(schedule.take_due(20)) == sorted(model)
