"""What waits for an answer of the broker, and which subscription a topic falls under."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bus.client.asking import (
    Asked,
    AuditSchedule,
    Requests,
    Subscription,
    answer_root,
    covering,
)
from bus.client.deliveries import Subscribe, Unsubscribe
from bus.client.positions import TopicState
from bus.model import StreamKind
from bus.wire.requests import ReplayRequest, SnapshotRequest

SNAPSHOT = SnapshotRequest(b"a", b"md/")


def state() -> TopicState:
    return TopicState(b"md/trades/sim/X/", StreamKind.EVENT)


def test_a_repair_gives_back_what_it_held_in_order_of_position() -> None:
    topic = state()
    asked = Asked(ReplayRequest(b"a", 1, 1, topic.key), topic)
    asked.hold = [(1, 5, "live", b"", topic), (1, 3, "snapshot", b"", topic)]
    assert asked.first_held() == (1, 3)
    assert [held[1] for held in asked.take_hold()] == [3, 5]
    assert asked.first_held() is None


def test_what_the_topic_has_passed_is_not_the_first_held() -> None:
    topic = state()
    topic.epoch, topic.seq = 1, 4
    asked = Asked(ReplayRequest(b"a", 1, 1, topic.key), topic)
    asked.hold = [(1, 3, "live", b"", topic), (1, 7, "live", b"", topic)]
    assert asked.first_held() == (1, 7)


def test_a_snapshot_gives_back_what_it_held_in_order_of_arrival() -> None:
    asked = Asked(SNAPSHOT)
    topic = state()
    asked.gate(topic)
    assert topic.gate is asked
    asked.hold = [(1, 5, "live", b"", topic), (1, 3, "live", b"", topic)]
    assert [held[1] for held in asked.take_hold()] == [5, 3]


def test_asking_again_keeps_what_is_held_and_forgets_what_was_counted() -> None:
    asked = Asked(SNAPSHOT)
    asked.received, asked.broken = 3, True
    asked.hold = [(1, 5, "live", b"", state())]
    asked.restart(SnapshotRequest(b"b", b"md/"), 9)
    assert (asked.received, asked.broken, asked.deadline_ns, len(asked.hold)) == (0, False, 9, 1)


def test_a_topic_falls_under_every_prefix_that_ends_at_a_slash() -> None:
    for prefix in (b"md/", b"md/trades/", b"md/trades/sim/", b"md/trades/sim/X/"):
        subscription = Subscription(prefix, True)
        assert covering({prefix: subscription}, b"md/trades/sim/X/") is subscription
    assert covering({b"md/trades/sim/X/": Subscription(b"", True)}, b"md/trades/sim/XY/") is None


def test_a_live_subscription_goes_before_a_pending_one() -> None:
    pending, live = Subscription(b"md/", True), Subscription(b"md/trades/", False)
    pending.pending = Asked(SNAPSHOT)
    both = {b"md/": pending, b"md/trades/": live}
    assert covering(both, b"md/trades/sim/X/") is live
    assert covering(both, b"md/trades/sim/X/", snapshot=True) is pending


@pytest.mark.parametrize(
    ("frame", "root"),
    [
        (b"snapshot/a/md/x", b"snapshot/a/"),
        (b"replay/a/1-2/md/x", b"replay/a/1-2/"),
        (b"md/trades/", b""),
        (b"snapshot/", b""),
    ],
)
def test_what_stands_before_the_cached_frame(frame: bytes, root: bytes) -> None:
    assert answer_root(frame) == root


def test_asking_again_uses_a_new_id_and_the_position_of_now() -> None:
    requests = Requests(10, iter([b"a", b"b"]).__next__)
    topic = state()
    topic.epoch, topic.seq = 1, 4
    asked = requests.replay(topic, [])
    topic.seq = 6
    requests.again(asked)
    assert requests.commands == [
        Subscribe(b"replay/a/1-4/" + topic.key),
        Unsubscribe(b"replay/a/1-4/" + topic.key),
        Subscribe(b"replay/b/1-6/" + topic.key),
    ]
    assert requests.answered(b"replay/a/1-4/") is None
    assert requests.answered(b"replay/b/1-6/") is asked


def test_an_answer_buys_time() -> None:
    requests = Requests(10, lambda: b"a")
    asked = requests.snapshot(b"md/")
    requests.now_ns = 10
    assert requests.overdue() == [asked]
    requests.answered(b"snapshot/a/")
    assert requests.overdue() == []


def test_an_audit_comes_a_second_after_a_loss_and_once() -> None:
    schedule, second = AuditSchedule(), 10**9
    assert not schedule.is_due(0, 5 * second)
    assert not schedule.is_due(1, 6 * second)
    assert not schedule.is_due(2, 7 * second - 1)
    assert schedule.is_due(2, 7 * second)
    assert not schedule.is_due(2, 99 * second)


def test_while_losses_go_on_audits_become_rare_but_not_rarer_than_a_minute() -> None:
    schedule, at, audits = AuditSchedule(), 0, []
    for second in range(600):
        at = second * 10**9
        if schedule.is_due(second, at):
            audits.append(second)
    pauses = [later - earlier for earlier, later in pairwise(audits)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 3
    assert 60 <= pauses[-1] <= 62
