"""The blocking subscriber against real brokers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.client import (
    EpochChange,
    Event,
    Gap,
    Publisher,
    SnapshotEnd,
    Subscriber,
    TopicWriter,
    Update,
)
from bus.errors import BusError, TopicError
from bus.model import Price, Topic, Trade
from bus.testing import wait_until
from tests.broker.frames import PRICE, TRADES
from tests.broker.serving import ServingBroker


def publish(writer: TopicWriter, count: int = 1) -> None:
    """The next trades, priced by their seq."""
    for _ in range(count):
        writer.publish(Trade(float(writer.seq + 1), 1.0), venue_ts_ns=None, recv_ts_ns=1)


def events(consumer: Subscriber, until_seq: int) -> list[Event]:
    """Everything up to the trade of that seq."""
    found: list[Event] = []
    while True:
        event = consumer.recv(10)
        assert event is not None, found[-3:]
        found.append(event)
        if isinstance(event, Update) and event.tick.seq == until_seq:
            return found


def seqs(found: list[Event]) -> list[int]:
    return [event.tick.seq for event in found if isinstance(event, Update)]


def test_snapshot_then_live(broker: ServingBroker) -> None:
    with Publisher(broker.publish) as publisher, Subscriber(broker.subscribe) as consumer:
        writer = publisher.writer(TRADES)
        wait_until(publisher.service)
        with Subscriber(broker.subscribe) as witness:
            witness.subscribe(TRADES)
            publish(writer, 3)
            events(witness, 3)
        consumer.subscribe(TRADES)
        found = events(consumer, 3)
        found.append(consumer.recv(5) or found[0])
        publish(writer)
        found += events(consumer, 4)
        assert [getattr(event, "kind", None) for event in found] == [
            *["snapshot"] * 3,
            None,
            "live",
        ]
        assert found[3] == SnapshotEnd(TRADES.name, 3, 0)


def test_it_may_be_made_before_the_broker(run_dir: Path) -> None:
    serving = ServingBroker(run_dir)
    with Subscriber(serving.subscribe) as consumer:
        consumer.subscribe("md/")
        assert consumer.recv(0.05) is None
        with serving:
            assert consumer.recv(10) == SnapshotEnd("md/", 0, 0)


def test_unsubscribing_ends_it(broker: ServingBroker) -> None:
    with Publisher(broker.publish) as publisher, Subscriber(broker.subscribe) as consumer:
        writer = publisher.writer(TRADES)
        wait_until(publisher.service)
        consumer.subscribe("md/")
        publish(writer)
        events(consumer, 1)
        assert consumer.unsubscribe("md/")
        assert not consumer.unsubscribe("md/")
        consumer.subscribe("sys/")
        while consumer.recv(10) != SnapshotEnd("sys/", 0, 0):
            pass
        publish(writer)
        assert consumer.recv(0.05) is None


def test_a_killed_broker_costs_a_consumer_nothing_it_could_have_had(broker: ServingBroker) -> None:
    with Publisher(broker.publish) as publisher, Subscriber(broker.subscribe) as consumer:
        trades, prices = publisher.writer(TRADES), publisher.writer(PRICE)
        wait_until(publisher.service)
        consumer.subscribe("md/")
        publish(trades, 5)
        prices.publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=1)
        found = events(consumer, 5)
        for _ in range(2):
            broker.kill()
            publish(trades, 3)  # these wait in the publisher
            broker.start()
            wait_until(publisher.service)
            publish(trades, 2)
            found += events(consumer, trades.seq)
        assert seqs([e for e in found if isinstance(e, Update) and e.tick.topic == TRADES]) == list(
            range(1, 16)
        )
        assert not any(isinstance(event, Gap) for event in found)
        assert consumer.stats().reconnections == 2


def test_a_restarted_publisher_is_announced(broker: ServingBroker) -> None:
    with Subscriber(broker.subscribe) as consumer:
        consumer.subscribe(TRADES)
        with Publisher(broker.publish, epoch=1_700_000_000_000) as publisher:
            wait_until(publisher.service)
            publish(publisher.writer(TRADES))
            events(consumer, 1)
        with Publisher(broker.publish, epoch=1_700_000_000_001) as publisher:
            wait_until(publisher.service)
            publish(publisher.writer(TRADES))
            change = EpochChange(TRADES, 1_700_000_000_000, 1_700_000_000_001)
            assert change in events(consumer, 1)


@pytest.mark.parametrize(("ring", "expect_gap"), [(100_000, False), (500, True)])
def test_a_slow_consumer_over_the_mark_is_repaired_or_told(
    run_dir: Path, ring: int, expect_gap: bool
) -> None:
    """It sleeps through 20,000 trades with room for 2,000: repaired by replay, or told exactly."""
    count = 20_000
    overrides = ["send_hwm=1000", "answer_rate=50000", f"trades_ring={ring}"]
    with (
        ServingBroker(run_dir, *(f"broker.{override}" for override in overrides)) as serving,
        Publisher(serving.publish) as publisher,
        Subscriber(serving.subscribe, hwm=1_000) as consumer,
    ):
        writer = publisher.writer(TRADES)
        wait_until(publisher.service)
        consumer.subscribe(TRADES)
        assert isinstance(consumer.recv(5), SnapshotEnd)
        publish(writer, count)
        publisher.writer(PRICE).publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=1)
        wait_until(lambda: is_cached(serving, PRICE))  # so all the trades have passed
        expected, lost = 1, 0
        while expected <= count:
            event = consumer.recv(0.1)
            if event is None:
                publish(writer)  # the end of a burst is missed by nobody until something follows
            elif isinstance(event, Update):
                assert event.tick.seq == expected
                expected += 1
            elif isinstance(event, Gap):
                assert event.from_seq == expected
                lost += event.to_seq + 1 - event.from_seq
                expected = event.to_seq + 1
        assert (lost > 0) is expect_gap, str(consumer.stats())
        assert consumer.stats().inbox.repairs > 0


def is_cached(serving: ServingBroker, topic: Topic) -> bool:
    """Whether the broker's cache holds anything of ``topic``."""
    with Subscriber(serving.subscribe) as watcher:
        watcher.subscribe(topic)
        return isinstance(watcher.recv(5), Update)


def test_after_losses_a_quiet_topic_is_brought_up_to_date(run_dir: Path) -> None:
    """The last price is among what the overflow dropped, and no other ever follows it."""
    with (
        ServingBroker(run_dir, "broker.send_hwm=1000") as serving,
        Publisher(serving.publish) as publisher,
        Subscriber(serving.subscribe, hwm=1_000) as consumer,
    ):
        writer, prices = publisher.writer(TRADES), publisher.writer(PRICE)
        wait_until(publisher.service)
        consumer.subscribe("md/")
        publish(writer, 20_000)
        prices.publish(Price(7.0), venue_ts_ns=None, recv_ts_ns=1)
        wait_until(lambda: is_cached(serving, PRICE))

        def price_arrived() -> bool:
            publish(writer)
            arrived = False
            while (event := consumer.recv(0.02)) is not None:
                arrived |= isinstance(event, Update) and event.tick.topic == PRICE
            return arrived

        wait_until(price_arrived)


def test_two_prefixes_over_one_topic_deliver_it_once(broker: ServingBroker) -> None:
    with Publisher(broker.publish) as publisher, Subscriber(broker.subscribe) as consumer:
        writer = publisher.writer(TRADES)
        wait_until(publisher.service)
        consumer.subscribe("md/")
        consumer.subscribe(TRADES)
        publish(writer, 5)
        assert seqs(events(consumer, 5)) == [1, 2, 3, 4, 5]


def test_it_iterates_until_it_is_closed(broker: ServingBroker) -> None:
    with Subscriber(broker.subscribe) as consumer:
        consumer.subscribe("md/")
        for event in consumer:
            assert isinstance(event, SnapshotEnd)
            consumer.close()
        with pytest.raises(BusError, match="closed"):
            consumer.recv(0)


@pytest.mark.parametrize("prefix", ["", "md", "BTC", Topic.md("trades", "sim", "a b")])
def test_a_malformed_prefix_is_refused(run_dir: Path, prefix: str | Topic) -> None:
    with Subscriber(f"ipc://{run_dir}/s") as consumer, pytest.raises(TopicError):
        consumer.subscribe(prefix)
