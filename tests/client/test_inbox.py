"""The consumer's protocol: cases by hand, then whatever hypothesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bus.client import (
    EpochChanged,
    GapFound,
    Inbox,
    InboxLimits,
    Message,
    SnapshotEnded,
    Subscribe,
    Unsubscribe,
)
from bus.config.broker import BrokerSettings
from bus.errors import TopicError
from bus.model import Topic
from tests.broker.frames import EPOCH, PRICE, TRADES, price, trade
from tests.client.model_bus import ModelBus, check_exactly_once_in_order

TOPICS = [
    TRADES,
    PRICE,
    Topic.md("depth", "sim", "BTC-USDT"),
    Topic.md("trades", "sim", "BTC-USD"),
    Topic.md("news", "sim", "crypto"),
]
SMALL = BrokerSettings(trades_ring=8, news_ring=5, depth_ring=100)


def make_bus(**limits: int) -> ModelBus:
    return ModelBus(SMALL, InboxLimits(**limits))


def kinds(bus: ModelBus) -> list[str]:
    return [delivery.kind for delivery in bus.deliveries]


def seqs(bus: ModelBus, topic: Topic = TRADES) -> list[int]:
    return [d.seq for d in bus.deliveries if isinstance(d, Message) and d.topic == topic.key]


# --- one claim each -----------------------------------------------------------------------------


def test_a_subscription_asks_for_live_first_and_for_the_snapshot_second() -> None:
    inbox = Inbox(new_id=lambda: b"abc")
    assert inbox.subscribe("md/trades/", 0)
    assert inbox.take_commands() == [
        Subscribe(b"md/trades/"),
        Subscribe(b"snapshot/abc/md/trades/"),
    ]


def test_without_a_snapshot_only_the_live_stream_is_asked_for() -> None:
    inbox = Inbox()
    inbox.subscribe(TRADES.name, 0, snapshot=False)
    assert inbox.take_commands() == [Subscribe(TRADES.key)]
    inbox.receive([trade(7)], 0)
    assert inbox.take_deliveries() == [Message("live", TRADES.key, EPOCH, 7, trade(7))]


def test_subscribing_twice_changes_nothing() -> None:
    inbox = Inbox()
    inbox.subscribe("md/", 0)
    inbox.take_commands()
    assert not inbox.subscribe("md/", 0)
    assert inbox.take_commands() == []


@pytest.mark.parametrize("prefix", ["", "md", "trades/", "md/trades", "md/tra des/"])
def test_a_malformed_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(TopicError):
        Inbox().subscribe(prefix, 0)


def test_snapshot_comes_first_then_its_end_then_live() -> None:
    bus = make_bus()
    for _ in range(3):
        bus.publish(TRADES)
    bus.subscribe("md/")
    bus.turn()
    bus.publish(TRADES)
    bus.deliver()
    assert kinds(bus) == ["snapshot"] * 3 + ["snapshot_end", "live"]
    assert seqs(bus) == [1, 2, 3, 4]
    assert bus.uplink[-1] == b"\x00snapshot/id1/md/"


def test_live_messages_that_overtake_the_snapshot_are_held_back() -> None:
    bus = make_bus()
    for _ in range(3):
        bus.publish(TRADES)
    bus.subscribe("md/")
    bus.subscribed.add(b"md/")  # the live subscription is in force, the snapshot is not asked yet
    bus.publish(TRADES)
    bus.publish(PRICE)
    bus.deliver()
    assert bus.deliveries == []
    assert bus.inbox.stats().held == 2
    bus.turn()
    bus.deliver()
    assert seqs(bus) == [1, 2, 3, 4]
    assert seqs(bus, PRICE) == [1]


@pytest.mark.parametrize("later", [1, 3])
def test_a_snapshot_ends_when_the_holes_it_showed_are_repaired(later: int) -> None:
    """The first messages of a publisher reached nobody, as happens to one that just connected."""
    bus = make_bus()
    bus.publish(TRADES)
    bus.restart_publisher()
    bus.seqs[TRADES] = 2
    bus.publish(TRADES)
    bus.restart_publisher()
    bus.seqs[TRADES] = 1 if later == 1 else 0
    for _ in range(later):
        bus.publish(TRADES)
    bus.publish(PRICE)
    bus.subscribe("md/")
    bus.turn()
    bus.publish(TRADES)
    bus.publish(PRICE)
    bus.quiesce()
    check_exactly_once_in_order(bus)
    ends = [n for n, delivery in enumerate(bus.deliveries) if delivery.kind == "snapshot_end"]
    told = [d for d in bus.deliveries[: ends[0]] if isinstance(d, Message) and d.epoch == bus.epoch]
    assert len(ends) == 1
    assert [d.seq for d in told if d.topic == TRADES.key][later - 1 :], "the snapshot's last trade"
    assert [d.seq for d in told if d.topic == PRICE.key] == [1], "live messages come after the end"


def test_a_topic_unsubscribed_in_mid_repair_does_not_keep_a_snapshot_from_its_end() -> None:
    bus = make_bus()
    bus.subscribe("md/trades/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 1
    bus.publish(TRADES)
    bus.publish(TRADES)
    bus.deliver()  # the repair is asked for
    bus.subscribe("md/")
    bus.unsubscribe("md/trades/")
    bus.quiesce()
    assert bus.deliveries[-1] == SnapshotEnded(b"md/", 3)
    assert seqs(bus) == [1, 2, 3]


def test_an_empty_snapshot_still_ends() -> None:
    bus = make_bus()
    bus.subscribe("md/news/")
    bus.turn()
    bus.deliver()
    assert bus.deliveries == [SnapshotEnded(b"md/news/", 0)]


def test_a_hole_in_an_event_topic_is_repaired_before_anything_else_is_delivered() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 2
    for _ in range(4):
        bus.publish(TRADES)
    bus.deliver()
    assert seqs(bus) == [1]
    bus.turn()
    bus.deliver()
    assert seqs(bus) == [1, 2, 3, 4, 5]
    assert "gap" not in kinds(bus)


def test_other_topics_go_on_while_one_is_repaired() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 1
    bus.publish(TRADES)
    bus.publish(TRADES)
    bus.publish(PRICE)
    bus.deliver()
    assert seqs(bus) == [1]
    assert seqs(bus, PRICE) == [1]


def test_what_the_broker_no_longer_holds_is_a_gap_and_the_rest_is_delivered() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 20
    for _ in range(21):
        bus.publish(TRADES)
    bus.quiesce()
    gaps = [d for d in bus.deliveries if isinstance(d, GapFound)]
    assert gaps == [GapFound(TRADES.key, EPOCH, 2, 14, "gone")]
    assert seqs(bus) == [1, *range(15, 23)]
    check_exactly_once_in_order(bus)


def test_a_skipped_state_message_is_counted_but_no_gap() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(PRICE)
    bus.losing = 2
    for _ in range(3):
        bus.publish(PRICE)
    bus.deliver()
    assert seqs(bus, PRICE) == [1, 4]
    assert "gap" not in kinds(bus)
    assert bus.inbox.stats().skipped == 2


def test_a_restarted_publisher_is_announced() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.publish(TRADES)
    bus.quiesce()
    bus.restart_publisher()
    bus.publish(TRADES)
    bus.quiesce()
    assert bus.deliveries[-2:] == [
        EpochChanged(TRADES.key, EPOCH, EPOCH + 1_000),
        Message("live", TRADES.key, EPOCH + 1_000, 1, trade(1, epoch=EPOCH + 1_000)),
    ]


def test_a_message_of_a_replaced_publisher_is_dropped() -> None:
    inbox = Inbox()
    inbox.subscribe("md/", 0, snapshot=False)
    inbox.receive([price(1, epoch=EPOCH + 5), price(9)], 0)
    assert len(inbox.take_deliveries()) == 1
    assert inbox.stats().duplicates == 1


def test_reconnecting_brings_everything_up_to_date() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.publish(PRICE)
    bus.deliver()
    bus.losing = 4
    for topic in (TRADES, PRICE) * 2:
        bus.publish(topic)
    bus.reconnect()
    bus.quiesce()
    assert seqs(bus) == [1, 2, 3]
    assert seqs(bus, PRICE) == [1, 3]
    check_exactly_once_in_order(bus)


def test_a_live_only_subscription_replays_quiet_topics_after_a_reconnection() -> None:
    bus = make_bus()
    bus.subscribe("md/trades/", snapshot=False)
    bus.quiesce()
    bus.publish(TRADES)
    bus.deliver()
    bus.losing = 2
    bus.publish(TRADES)
    bus.publish(TRADES)
    bus.reconnect()
    bus.quiesce()
    assert [(d.kind, d.seq) for d in bus.deliveries if isinstance(d, Message)] == [
        ("live", 1),
        ("replay", 2),
        ("replay", 3),
    ]


def test_an_unanswered_snapshot_is_asked_for_again_under_another_id() -> None:
    inbox = Inbox(new_id=iter([b"a", b"b"]).__next__)
    inbox.subscribe("md/", 0)
    inbox.take_commands()
    inbox.service(1_999_999_999)
    assert inbox.take_commands() == []
    inbox.service(2_000_000_000)
    assert inbox.take_commands() == [Unsubscribe(b"snapshot/a/md/"), Subscribe(b"snapshot/b/md/")]


def test_an_unanswered_replay_becomes_a_gap_after_the_last_attempt() -> None:
    inbox = Inbox(InboxLimits(attempts=2))
    inbox.subscribe("md/", 0, snapshot=False)
    inbox.receive([trade(1), trade(3)], 0)
    inbox.service(2_000_000_000)
    assert [d.kind for d in inbox.take_deliveries()] == ["live"]
    inbox.service(4_000_000_000)
    assert inbox.take_deliveries() == [
        GapFound(TRADES.key, EPOCH, 2, 2, "timeout"),
        Message("live", TRADES.key, EPOCH, 3, trade(3)),
    ]
    assert not inbox.waiting


def test_a_snapshot_that_lost_messages_on_its_way_is_asked_for_again() -> None:
    bus = make_bus()
    for _ in range(3):
        bus.publish(PRICE)
    bus.publish(TRADES)
    bus.subscribe("md/")
    bus.losing = 1
    bus.turn()
    bus.quiesce()
    assert bus.deliveries[-1] == SnapshotEnded(b"md/", 2)
    assert seqs(bus, PRICE) == [3]
    assert bus.inbox.stats().retries == 1


def test_a_replay_that_lost_messages_on_its_way_is_asked_for_again() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 3
    for _ in range(5):
        bus.publish(TRADES)
    bus.deliver()
    bus.losing = 1
    bus.turn()
    bus.quiesce()
    assert seqs(bus) == [1, 2, 3, 4, 5, 6]


def test_more_than_may_be_held_for_a_snapshot_is_dropped_and_the_snapshot_renewed() -> None:
    bus = make_bus(max_held=4)
    bus.subscribe("md/")
    bus.subscribed.add(b"md/")
    for _ in range(6):
        bus.publish(TRADES)
    bus.deliver()
    assert bus.inbox.stats().held_dropped == 5
    bus.quiesce()
    assert seqs(bus) == [1, 2, 3, 4, 5, 6]
    check_exactly_once_in_order(bus)


def test_more_than_may_be_held_for_a_repair_becomes_a_gap() -> None:
    bus = make_bus(max_held_repair=3)
    bus.subscribe("md/", snapshot=False)
    bus.quiesce()
    bus.publish(TRADES)
    bus.losing = 1
    for _ in range(6):
        bus.publish(TRADES)
    bus.deliver()
    assert GapFound(TRADES.key, EPOCH, 2, 2, "overflow") in bus.deliveries
    assert seqs(bus) == [1, 3, 4, 5, 6, 7]


def test_a_lost_book_starts_again_from_the_last_whole_one() -> None:
    bus = ModelBus(BrokerSettings(depth_ring=100))
    topic = TOPICS[2]
    bus.subscribe("md/")
    bus.quiesce()
    bus.publish(topic)
    bus.losing = 34
    for _ in range(35):
        bus.publish(topic)
    bus.quiesce()
    after = bus.deliveries[bus.deliveries.index(next(d for d in bus.deliveries if d.kind == "gap"))]
    assert after == GapFound(topic.key, EPOCH, 2, 30, "gone")
    assert seqs(bus, topic) == [1, *range(31, 37)]
    assert bus.published[topic.key, EPOCH, 31][-1] == 0xC3, "it is a whole book"


def test_unsubscribing_ends_delivery_and_forgets_the_topic() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.publish(TRADES)
    bus.quiesce()
    bus.publish(TRADES)  # on its way
    bus.unsubscribe("md/")
    bus.deliver()
    assert seqs(bus) == [1]
    assert bus.inbox.position(TRADES.key) is None
    assert bus.inbox.stats().unwanted == 1


def test_a_topic_wanted_twice_stays_until_both_are_gone() -> None:
    bus = make_bus()
    bus.subscribe("md/")
    bus.subscribe(TRADES.name)
    bus.publish(TRADES)
    bus.quiesce()
    bus.unsubscribe("md/")
    bus.quiesce()
    bus.publish(TRADES)
    bus.quiesce()
    assert seqs(bus) == [1, 2]


def test_status_of_a_feed_is_a_topic_and_a_prefix() -> None:
    inbox = Inbox()
    whole, one = Topic.status("binance"), Topic.status("binance", "BTC-USDT")
    inbox.subscribe("sys/status/binance/", 0, snapshot=False)
    inbox.receive([price(1, topic=whole), price(1, topic=one)], 0)
    inbox.unsubscribe("sys/status/binance/", 0)
    assert inbox.stats().topics == 0


def test_topics_beyond_the_limit_are_counted() -> None:
    inbox = Inbox(InboxLimits(max_topics=1))
    inbox.subscribe("md/", 0, snapshot=False)
    inbox.receive([price(1), trade(1)], 0)
    assert len(inbox.take_deliveries()) == 1
    assert inbox.stats().refused == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0",
        b"no nul at all",
        TRADES.key + b"\0",
        TRADES.key + b"\0garbage",
        TRADES.key + b"\0\x92\xa3end\x01",
        b"md/unknown/sim/X/\0" + trade(1).partition(b"\0")[2],
        b"snapshot/\0\x92\xa3end\x00",
        b"replay/x/\0\x92\xa3end\x00",
        b"\xff\xfe\0\x01",
    ],
)
def test_garbage_is_counted_and_changes_nothing(frame: bytes) -> None:
    inbox = Inbox()
    inbox.subscribe("md/", 0, snapshot=False)
    inbox.receive([trade(1), frame, trade(2)], 0)
    assert [d.kind for d in inbox.take_deliveries()] == ["live", "live"]
    stats = inbox.stats()
    assert stats.malformed + stats.unwanted == 1


def test_a_malformed_answer_does_not_end_the_snapshot() -> None:
    inbox = Inbox(new_id=lambda: b"a")
    inbox.subscribe("md/", 0)
    inbox.receive([b"snapshot/a/md/\0\x92\xa3xxx\x01", b"snapshot/a/md/\0\x92\xa3end"], 0)
    assert inbox.take_deliveries() == []
    assert inbox.waiting
    assert inbox.stats().malformed == 2


# --- anything at all ----------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_no_bytes_make_it_raise(frames: list[bytes]) -> None:
    inbox = Inbox(new_id=lambda: b"a")
    inbox.subscribe("md/", 0)
    inbox.receive(frames, 0)
    inbox.receive([b"snapshot/a/md/" + frame for frame in frames], 0)
    inbox.service(10**12)


class InboxMachine(RuleBasedStateMachine):
    """One consumer on a bus that loses messages, breaks connections and restarts everything."""

    @initialize(held=st.sampled_from([5, 1_000]), repair=st.sampled_from([3, 1_000]))
    def begin(self, held: int, repair: int) -> None:
        self.bus = make_bus(max_held=held, max_held_repair=repair)

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 12))
    def publish(self, topic: Topic, count: int) -> None:
        for _ in range(count):
            self.bus.publish(topic)

    @rule(prefix=st.sampled_from(["md/", "md/trades/", TRADES.name]), snapshot=st.booleans())
    def subscribe(self, prefix: str, snapshot: bool) -> None:
        self.bus.subscribe(prefix, snapshot=snapshot)

    @rule(count=st.integers(1, 15))
    def lose(self, count: int) -> None:
        self.bus.losing = count

    @rule()
    def turn(self) -> None:
        self.bus.turn()

    @rule(count=st.integers(1, 20))
    def deliver(self, count: int) -> None:
        self.bus.deliver(count)

    @rule()
    def reconnect(self) -> None:
        self.bus.reconnect()

    @rule()
    def restart_broker(self) -> None:
        self.bus.start_broker()
        self.bus.reconnect()

    @rule()
    def restart_publisher(self) -> None:
        self.bus.restart_publisher()

    @rule(ms=st.integers(100, 3_000))
    def pass_time(self, ms: int) -> None:
        self.bus.pass_time(ms)

    @invariant()
    def promises_hold(self) -> None:
        if hasattr(self, "bus"):
            check_exactly_once_in_order(self.bus)

    def teardown(self) -> None:
        """When nothing is lost any more, the consumer ends where the publisher is."""
        if not hasattr(self, "bus"):
            return
        bus = self.bus
        bus.quiesce()
        for topic in bus.seqs:  # a message after the last loss shows every hole
            bus.publish(topic)
        bus.quiesce()
        check_exactly_once_in_order(bus)
        for topic, seq in bus.seqs.items():
            if any(topic.key.startswith(key) for key in bus.subscribed):
                assert bus.inbox.position(topic.key) == (bus.epoch, seq)
        assert bus.inbox.stats().held == 0


TestInboxMachine = InboxMachine.TestCase
TestInboxMachine.settings = settings(max_examples=150, stateful_step_count=40)
