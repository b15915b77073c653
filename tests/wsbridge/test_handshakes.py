"""Unfinished handshakes: the slow ones make room, the quick ones never."""

from __future__ import annotations

from dataclasses import dataclass

from bus.wsbridge.handshakes import SLOW_NS, Handshakes


@dataclass(eq=False)
class One:
    since_ns: int


def test_who_has_taken_longest_makes_room_unless_all_are_quick() -> None:
    handshakes: Handshakes[One] = Handshakes(2)
    slow, other, third, fourth = One(0), One(0), One(SLOW_NS), One(SLOW_NS)
    assert handshakes.began(slow, 0) == handshakes.began(other, 0) == []
    assert handshakes.began(third, SLOW_NS - 1) == [], "a second has not passed"
    assert handshakes.began(fourth, SLOW_NS) == [slow, other]
    for one in (slow, other):
        handshakes.ended(one)
        handshakes.ended(one)
    assert list(handshakes) == [third, fourth]
    assert handshakes.dropped == 2
    handshakes.overdue(third)
    handshakes.overdue(slow)
    assert (len(handshakes), handshakes.dropped) == (2, 3), "only who is still at it counts"
