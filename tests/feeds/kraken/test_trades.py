"""When missing trades are asked for, and when they are given up."""

from __future__ import annotations

from bus.feeds.backoff import Backoff
from bus.feeds.kraken.trades import WAIT_NS, Step, TradeWatch


def test_they_are_asked_for_at_once_and_given_up_after_a_while() -> None:
    watch = TradeWatch(Backoff(1.0, 10.0))
    steps = [watch.look(True, now_ns, 0.0) for now_ns in (10, 11, 9 + WAIT_NS, 10 + WAIT_NS)]
    assert steps == [Step.ASK, Step.NOTHING, Step.NOTHING, Step.GIVE_UP]


def test_trades_that_come_are_not_given_up() -> None:
    watch = TradeWatch(Backoff(1.0, 10.0))
    assert watch.look(True, 10, 0.0) is Step.ASK
    assert watch.look(False, 11, 0.0) is Step.NOTHING
    assert watch.look(False, 10 + WAIT_NS, 0.0) is Step.NOTHING


def test_holes_again_and_again_are_asked_about_with_growing_pauses() -> None:
    watch = TradeWatch(Backoff(1.0, 60.0))
    asked = []
    for second in range(60):
        now_ns = second * 1_000_000_000
        if watch.look(True, now_ns, 1.0) is Step.ASK:
            asked.append(second)
        watch.look(False, now_ns, 1.0)  # it came
    assert len(asked) <= 6
    assert asked[0] == 0
