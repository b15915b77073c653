"""Asking again for what keeps failing."""

from __future__ import annotations

from bus.feeds.backoff import Backoff
from bus.feeds.pace import CALM_NS, Pace

S = 1_000_000_000


def test_the_first_time_is_at_once_and_the_waits_grow_to_the_cap() -> None:
    pace = Pace(Backoff(1.0, 8.0))
    asked = []
    for now_s in range(100, 150):
        if pace.may_ask(now_s * S, 1.0):
            asked.append(now_s)
            assert pace.asked_ns == now_s * S
    assert asked == [100, 102, 106, 114, 122, 130, 138, 146]


def test_after_a_calm_while_it_begins_anew() -> None:
    pace = Pace(Backoff(1.0, 64.0))
    for now_s in range(100, 200):
        pace.may_ask(now_s * S, 1.0)
    later_ns = pace.asked_ns + CALM_NS + 64 * S
    assert pace.may_ask(later_ns, 1.0)
    assert not pace.may_ask(later_ns + S, 1.0)
    assert pace.may_ask(later_ns + 2 * S, 1.0)
