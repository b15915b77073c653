"""Publishing: sequence, epoch, drops, and the broker's return."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.client import Publisher, Subscriber, Update
from bus.errors import BusError, ConfigError, TopicError
from bus.model import Price, Topic, Trade
from bus.testing import eventually, wait_until
from bus.wire.codec import decode_frame
from tests.broker.frames import PRICE, TRADES
from tests.broker.serving import ServingBroker


@pytest.fixture
def publisher(run_dir: Path) -> Iterator[Publisher]:
    """A publisher whose broker is not there."""
    with Publisher(f"ipc://{run_dir}/publish.sock") as made:
        yield made


def values(consumer: Subscriber, count: int) -> list[float]:
    """The prices of the next ``count`` updates."""
    found: list[float] = []
    while len(found) < count:
        event = consumer.recv(5)
        assert event is not None
        if isinstance(event, Update):
            assert isinstance(event.tick.body, (Price, Trade))
            found.append(event.tick.body.price)
    return found


def test_seq_counts_per_topic_from_one(publisher: Publisher) -> None:
    trades, prices = publisher.writer(TRADES), publisher.writer(PRICE)
    assert [trades.publish(Trade(1.0, 1.0), venue_ts_ns=1, recv_ts_ns=2) for _ in range(3)] == [
        1,
        2,
        3,
    ]
    assert prices.publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=2) == 1
    assert publisher.writer(TRADES) is trades
    assert publisher.stats().messages == 4


def test_what_cannot_be_encoded_leaves_no_hole_and_no_trace(publisher: Publisher) -> None:
    writer = publisher.writer(PRICE)
    with pytest.raises((OverflowError, UnicodeEncodeError)):
        writer.publish(Price(1.0), venue_ts_ns=2**70, recv_ts_ns=2)
    assert (writer.seq, writer.last_frame) == (0, None)
    assert writer.publish(Price(2.0), venue_ts_ns=1, recv_ts_ns=2) == 1
    assert writer.last_frame is not None
    assert decode_frame(writer.last_frame).body == Price(2.0)


def test_publishing_after_close_says_so(publisher: Publisher) -> None:
    writer = publisher.writer(PRICE)
    publisher.close()
    with pytest.raises(BusError, match="the publisher is closed"):
        writer.publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=1)


def test_a_frame_carries_what_was_given(publisher: Publisher) -> None:
    writer = publisher.writer(PRICE)
    writer.publish(Price(5.5), venue_ts_ns=7, recv_ts_ns=8)
    assert writer.last_frame is not None
    tick = decode_frame(writer.last_frame)
    assert (tick.topic, tick.epoch, tick.seq) == (PRICE, publisher.epoch, 1)
    assert (tick.venue_ts_ns, tick.recv_ts_ns, tick.body) == (7, 8, Price(5.5))
    assert tick.pub_ts_ns > 1_700_000_000 * 10**9


def test_another_body_is_a_mistake_of_the_program(publisher: Publisher) -> None:
    with pytest.raises(TypeError, match="carries Trade"):
        publisher.writer(TRADES).publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=1)


@pytest.mark.parametrize(
    "topic", [Topic.md("nothing", "sim", "X"), Topic.md("trades", "SIM", "X"), Topic.status("")]
)
def test_a_malformed_topic_is_refused(publisher: Publisher, topic: Topic) -> None:
    with pytest.raises(TopicError):
        publisher.writer(topic)


def test_an_endpoint_off_loopback_is_refused_and_leaves_nothing_open() -> None:
    with pytest.raises(ConfigError, match="off loopback"):
        Publisher("tcp://10.0.0.1:5555")


def test_what_was_said_before_the_broker_came_is_said_again(run_dir: Path) -> None:
    serving = ServingBroker(run_dir)
    with Publisher(serving.publish) as publisher, serving:
        publisher.writer(PRICE).publish(Price(5.0), venue_ts_ns=None, recv_ts_ns=1)
        wait_until(publisher.service)
        with Subscriber(serving.subscribe) as consumer:
            consumer.subscribe("md/")
            assert values(consumer, 1) == [5.0]
    assert publisher.stats().republished == 1


def test_after_a_kill_of_the_broker_state_is_back_with_its_own_position(
    broker: ServingBroker,
) -> None:
    with Publisher(broker.publish) as publisher:
        writer = publisher.writer(PRICE)
        wait_until(publisher.service)
        for value in (1.0, 2.0, 3.0):
            writer.publish(Price(value), venue_ts_ns=None, recv_ts_ns=1)
        broker.kill()
        broker.start()
        wait_until(publisher.service)
        with Subscriber(broker.subscribe) as consumer:
            consumer.subscribe(PRICE)
            event = consumer.recv(5)
            assert isinstance(event, Update)
            assert (event.tick.epoch, event.tick.seq) == (publisher.epoch, 3)
        assert publisher.stats().attached == 2


def test_messages_beyond_the_mark_are_dropped_counted_and_leave_a_hole(
    broker: ServingBroker,
) -> None:
    with Publisher(broker.publish, hwm=10) as publisher:
        writer = publisher.writer(TRADES)
        wait_until(publisher.service)
        broker.kill()

        def dropped() -> bool:
            writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=1)
            return publisher.stats().dropped > 0

        wait_until(dropped)
        assert writer.seq > 10


async def test_on_a_loop_it_notices_the_broker_by_itself(run_dir: Path, loop_kind: str) -> None:
    serving = ServingBroker(run_dir)
    with Publisher(serving.publish) as publisher:
        told: list[int] = []
        publisher.attach_loop(lambda: told.append(publisher.stats().republished))
        publisher.writer(PRICE).publish(Price(5.0), venue_ts_ns=None, recv_ts_ns=1)
        await asyncio.to_thread(serving.start)
        try:
            await eventually(lambda: told == [1])
            await asyncio.to_thread(serving.kill)
            await asyncio.to_thread(serving.start)
            await eventually(lambda: told == [1, 2])
        finally:
            serving.kill()


async def test_nothing_published_means_nothing_to_call_back_for(
    broker: ServingBroker, loop_kind: str
) -> None:
    with Publisher(broker.publish) as publisher:
        told: list[int] = []
        publisher.attach_loop(lambda: told.append(1))
        await eventually(lambda: publisher.stats().attached == 1)
        assert told == []


def test_closing_twice_does_no_harm(run_dir: Path) -> None:
    publisher = Publisher(f"ipc://{run_dir}/p")
    publisher.close()
    publisher.close()
