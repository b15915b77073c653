"""A stream changes connections without a hole, a repeat or a step back, whoever is ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.handover import DEADLINE_NS, MAX_HELD, SETTLE_NS, Handover, Order


class Published:
    """Numbers published so far, as a feed that drops repeats does."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def take(self, held: list[tuple[int, int]]) -> None:
        for number, _ in held:
            if number not in self.numbers:
                self.numbers.append(number)

    @property
    def order(self) -> Order:
        return Order(lambda number: number, lambda: self.numbers[-1] if self.numbers else 0)


@given(st.integers(1, 20), st.lists(st.booleans(), max_size=120))
def test_whatever_the_pace_of_the_two_all_numbers_come_once_and_in_order(
    new_starts: int, turns: list[bool]
) -> None:
    out = Published()
    handover = Handover({"trades": out.order}, 0)
    old, new = 0, new_starts - 1
    for is_new in turns:
        if is_new:
            new += 1
            out.take(handover.from_new("trades", new, 1))
        else:
            old += 1
            out.take([(old, 1)])
            out.take(handover.after_old("trades", 1))
    for number in range(old + 1, new_starts + 1):  # the old one goes on until it has joined
        out.take([(number, 1)])
        out.take(handover.after_old("trades", 1))
    for _, held in handover.let_go():
        out.take(held)
    assert out.numbers == list(range(1, len(out.numbers) + 1))


def test_a_stream_without_order_is_handed_over_with_its_first_event() -> None:
    handover = Handover({"ticker": None}, 0)
    assert not handover.complete
    assert handover.from_new("ticker", 7, 1) == [(7, 1)]
    assert handover.complete


def test_events_of_the_new_one_wait_until_the_old_one_has_come_so_far() -> None:
    out = Published()
    handover = Handover({"trades": out.order}, 0)
    assert handover.from_new("trades", 5, 1) == []
    assert handover.from_new("trades", 6, 2) == []
    out.take([(3, 1)])
    assert handover.after_old("trades", 1) == []
    out.take([(4, 1)])
    assert handover.after_old("trades", 1) == [(5, 1), (6, 2)]
    assert handover.complete


def test_without_a_book_nothing_has_to_wait() -> None:
    handover = Handover({"depth": Order(lambda number: number, lambda: None)}, 0)
    assert handover.from_new("depth", 5, 1) == [(5, 1)]


def test_quiet_streams_are_not_missing_but_one_only_the_old_brings_is() -> None:
    out = Published()
    handover = Handover({"quiet": None, "early": None, "lost": None, "trades": out.order}, 0)
    handover.after_old("early", SETTLE_NS)
    handover.after_old("lost", SETTLE_NS + 1)
    assert handover.missing(DEADLINE_NS - 1) is None
    assert handover.missing(DEADLINE_NS) == ("lost",)


def test_what_waits_is_let_go_in_order_and_nothing_waits_from_then_on() -> None:
    out = Published()
    handover = Handover({"trades": out.order}, 0)
    handover.from_new("trades", 5, 1)
    handover.from_new("trades", 6, 1)
    assert handover.let_go() == [("trades", [(5, 1), (6, 1)])]
    assert handover.complete
    assert handover.from_new("trades", 7, 1) == [(7, 1)]
    assert handover.after_old("unknown", 1) == []


def test_no_more_than_so_many_events_wait() -> None:
    handover = Handover({"trades": Order(lambda number: number, lambda: 0)}, 0)
    for number in range(10, 10 + MAX_HELD):
        assert handover.from_new("trades", number, 1) == []
    assert len(handover.from_new("trades", 10 + MAX_HELD, 1)) == MAX_HELD + 1
