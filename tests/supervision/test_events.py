"""Events are kept up to a bound and handed on as they come."""

from __future__ import annotations

from bus.supervision.events import KEPT_EVENTS, EventLog, Happening


def test_the_oldest_go_first() -> None:
    log = EventLog()
    for number in range(KEPT_EVENTS + 5):
        log.add(Happening(number, "note", "", ""))
    assert len(log.kept()) == KEPT_EVENTS
    assert log.kept()[0].at_ns == 5


def test_listeners_hear_each_in_order() -> None:
    log = EventLog()
    heard: list[Happening] = []
    log.listen(heard.append)
    for number in range(3):
        log.add(Happening(number, "note", "", ""))
    assert [happening.at_ns for happening in heard] == [0, 1, 2]
