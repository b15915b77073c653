"""The broker's sockets and threads: real sockets, and real processes where a process is meant."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from bus.broker.__main__ import report
from bus.broker.proxy import Broker
from bus.client import Publisher, Subscriber, Update
from bus.config.broker import BrokerSettings
from bus.errors import BusError, ConfigError
from bus.model import Price, Topic
from bus.testing import wait_until
from bus.transport.sockets import new_context
from bus.wire.codec import decode_frame
from bus.wire.requests import End, decode_marker
from tests.broker.frames import PRICE, TRADES, price, trade
from tests.broker.serving import KeepingContext, ServingBroker


class Turning:
    """A broker in this process, its loop turned by a thread."""

    def __init__(self, run_dir: Path, settings: BrokerSettings) -> None:
        self.publish = f"ipc://{run_dir}/p"
        self.subscribe = f"ipc://{run_dir}/s"
        self._stop = threading.Event()
        self._made = threading.Event()
        self._settings = settings
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._made.wait(5)

    def _run(self) -> None:
        self.broker = Broker(self._settings, self.publish, self.subscribe)
        poller = zmq.Poller()
        poller.register(self.broker.outlet, zmq.POLLIN)
        self._made.set()
        while not self._stop.is_set():
            self.broker.turn(poller)
        self.broker.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def turning(run_dir: Path) -> Iterator[Turning]:
    made = Turning(run_dir, BrokerSettings())
    yield made
    made.close()


@pytest.fixture
def plain() -> Iterator[KeepingContext]:
    """A context for plain sockets, as a program in any language would use."""
    context = KeepingContext()
    yield context
    context.end()


def attach(context: KeepingContext, endpoint: str) -> zmq.Socket[bytes]:
    """A plain publisher that has seen the broker's subscriptions."""
    socket = context.socket(zmq.XPUB)
    socket.sndhwm = 0
    socket.connect(endpoint)
    seen: set[bytes] = set()
    while not {b"\x01md/", b"\x01sys/"} <= seen:
        assert socket.poll(5_000)
        seen.add(socket.recv())
    return socket


def ask(
    context: KeepingContext, endpoint: str, prefix: str, request_id: str = "abc"
) -> tuple[list[bytes], End]:
    """A plain subscriber's snapshot: cached frames without their root, and the end marker."""
    socket = context.socket(zmq.SUB)
    socket.connect(endpoint)
    root = f"snapshot/{request_id}/".encode()
    socket.subscribe(root + prefix.encode())
    frames: list[bytes] = []
    while True:
        assert socket.poll(5_000), "no answer"
        frame = socket.recv()
        topic, _, payload = frame.partition(b"\0")
        if topic == root + prefix.encode() and payload[0] == 0x92:
            marker = decode_marker(payload)
            assert isinstance(marker, End)
            socket.close(linger=0)
            return frames, marker
        frames.append(frame.removeprefix(root))


def stored(turning: Turning, count: int) -> None:
    wait_until(lambda: turning.broker.cache.stats().stored >= count, what=f"{count} stored")


@pytest.mark.parametrize("prefix", ["md/", "md/price/", "md/price/sim/", PRICE.name])
def test_a_plain_subscriber_gets_a_snapshot_at_every_level(
    turning: Turning, plain: KeepingContext, prefix: str
) -> None:
    attach(plain, turning.publish).send(price(1))
    stored(turning, 1)
    assert ask(plain, turning.subscribe, prefix) == ([price(1)], End(1))


def test_a_symbol_that_begins_like_another_is_not_delivered(
    turning: Turning, plain: KeepingContext
) -> None:
    publisher = attach(plain, turning.publish)
    usd, usdt = Topic.md("price", "sim", "BTC-USD"), PRICE
    with Subscriber(turning.subscribe) as consumer:
        consumer.subscribe(usd)
        assert consumer.recv(5) is not None  # the end of the empty snapshot: it is live
        publisher.send(price(1, topic=usdt))
        publisher.send(price(1, topic=usd))
        event = consumer.recv(5)
        assert isinstance(event, Update)
        assert event.tick.topic == usd
        assert consumer.recv(0.05) is None


def test_nobody_else_receives_an_answer(turning: Turning, plain: KeepingContext) -> None:
    attach(plain, turning.publish).send(price(1))
    stored(turning, 1)
    other = plain.socket(zmq.SUB)
    other.connect(turning.subscribe)
    other.subscribe(b"md/")
    other.subscribe(b"snapshot/mine/")
    ask(plain, turning.subscribe, "md/", "theirs")
    assert not other.poll(50)


def test_garbage_on_the_bus_is_counted_and_harms_nobody(
    turning: Turning, plain: KeepingContext
) -> None:
    publisher = attach(plain, turning.publish)
    garbage = [b"md/", b"md/x\0", b"md/trades/sim/X/\0junk", b"sys/\0\0\0", TRADES.key]
    for frame in [trade(1), *garbage, trade(2)]:
        publisher.send(frame)
    stored(turning, 2 + len(garbage))
    assert ask(plain, turning.subscribe, "md/") == ([trade(1), trade(2)], End(2))
    assert turning.broker.cache.stats().malformed == len(garbage)


def test_garbage_requests_are_counted_and_harm_nobody(
    turning: Turning, plain: KeepingContext
) -> None:
    attach(plain, turning.publish).send(price(1))
    stored(turning, 1)
    nasty = plain.socket(zmq.SUB)
    nasty.connect(turning.subscribe)
    requests = [
        b"snapshot/",
        b"snapshot/a/\xff\xff/",
        b"replay/a/b/c",
        b"replay//-/" + b"x" * 3_000,
    ]
    for request in requests:
        nasty.subscribe(request)
    wait_until(lambda: turning.broker.answers.stats().malformed == len(requests))
    assert ask(plain, turning.subscribe, "md/") == ([price(1)], End(1))


def test_the_proxy_counts_and_the_cache_knows_its_lag(
    turning: Turning, plain: KeepingContext
) -> None:
    publisher = attach(plain, turning.publish)
    for number in range(100):
        publisher.send(trade(number + 1))
    wait_until(lambda: turning.broker.stats().messages_in >= 100)
    stats = turning.broker.stats()
    assert stats.bytes_in >= 100 * len(trade(1))
    assert stats.messages_out >= 100
    assert 0 < wait_until(lambda: turning.broker.lag_ms) < 1_000
    counters = report(stats)
    assert counters["cache_stored"] == 100
    assert all(isinstance(value, (int, float)) for value in counters.values())


# --- bad settings -------------------------------------------------------------------------------


def test_a_live_endpoint_is_not_taken_over(turning: Turning, run_dir: Path) -> None:
    with pytest.raises(BusError, match="another process serves it"):
        Broker(BrokerSettings(), turning.publish, f"ipc://{run_dir}/other")


def test_an_unusable_endpoint_leaves_nothing_open(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="off loopback"):
        Broker(BrokerSettings(), f"ipc://{run_dir}/p", "tcp://0.0.0.0:5555")
    Turning(run_dir, BrokerSettings()).close()


@pytest.mark.parametrize(
    ("override", "code", "said"),
    [
        ("broker.publish=tcp://0.0.0.0:5555", 78, "off loopback"),
        ("broker.publish=nonsense", 78, "not an endpoint"),
        ("broker.publish=ipc:///nowhere/at/all.sock", 1, "directory does not exist"),
        ("broker.max_topics=0", 78, "max_topics"),
        ("broker.max_topic=1", 78, "max_topics"),
    ],
)
def test_a_bad_setting_is_one_clear_line_and_its_exit_code(
    run_dir: Path, override: str, code: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bus.broker", "--name", "broker", "--set", override],
        env=dict(os.environ, MDBUS_RUN_DIR=str(run_dir)),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == code
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ended.stderr


def test_sigterm_ends_it_with_success_while_peers_are_connected(run_dir: Path) -> None:
    with ServingBroker(run_dir) as serving:
        with Publisher(serving.publish), Subscriber(serving.subscribe) as consumer:
            consumer.subscribe("md/")
            assert consumer.recv(5) is not None
            assert serving.stop() == 0
        assert "served" in serving.log()


# --- the promises under load --------------------------------------------------------------------


def test_a_late_joiner_always_ends_with_the_last_value(run_dir: Path) -> None:
    """200 consumers join while topics go quiet at random: not one ends with a wrong last value."""
    joiners, topics = 200, [Topic.md("price", "sim", f"S{number}") for number in range(40)]
    choice = random.Random(7)
    last: dict[Topic, float] = {}
    with ServingBroker(run_dir) as serving, Publisher(serving.publish) as publisher:
        writers = {topic: publisher.writer(topic) for topic in topics}
        wait_until(publisher.service)
        context = new_context()
        joined: list[tuple[Subscriber, Topic, list[float]]] = []
        delays_ms: list[float] = []
        waiting: list[tuple[Subscriber, Topic, list[float], float]] = []
        active = set(topics)
        while len(joined) < joiners:
            for topic in list(active):
                value = last[topic] = last.get(topic, 0.0) + 1.0
                writers[topic].publish(Price(value), venue_ts_ns=None, recv_ts_ns=1)
                if choice.random() < 0.02:
                    active.discard(topic)  # it says nothing more for a while
            if len(active) < 10:
                active.update(choice.sample(topics, 20))
            if len(waiting) < 20 and len(joined) + len(waiting) < joiners:
                topic = choice.choice(topics)
                consumer = Subscriber(serving.subscribe, context=context)
                consumer.subscribe(topic)
                waiting.append((consumer, topic, [], time.monotonic()))
            for entry in list(waiting):
                consumer, topic, values, began = entry
                while (event := consumer.recv(0)) is not None:
                    if isinstance(event, Update):
                        values.append(price_of(event))
                    else:
                        delays_ms.append((time.monotonic() - began) * 1_000)
                        waiting.remove(entry)
                        joined.append((consumer, topic, values))
                        break
        for topic in topics:  # a last word on some topics, silence on the others
            if choice.random() < 0.5:
                last[topic] = last.get(topic, 0.0) + 1.0
                writers[topic].publish(Price(last[topic]), venue_ts_ns=None, recv_ts_ns=1)
        wrong = 0
        for consumer, topic, values in joined:

            def caught_up(
                consumer: Subscriber = consumer, topic: Topic = topic, values: list[float] = values
            ) -> bool:
                while (event := consumer.recv(0)) is not None:
                    if isinstance(event, Update):
                        values.append(price_of(event))
                return values[-1:] == ([last[topic]] if topic in last else [])

            wait_until(caught_up, what=f"the last value of {topic}")
            wrong += values != sorted(set(values))
            consumer.close()
        context.term()
    assert wrong == 0
    print(f"\nlate joiners: {joiners}, wrong: {wrong}, p50 {statistics.median(delays_ms):.2f} ms")
    assert statistics.median(delays_ms) < 1_000


def price_of(event: Update) -> float:
    assert isinstance(event.tick.body, Price)
    return event.tick.body.price


def test_a_plain_subscriber_loses_nothing_of_a_fast_burst(
    turning: Turning, plain: KeepingContext
) -> None:
    count = 50_000
    consumer = plain.socket(zmq.SUB)
    consumer.rcvhwm = 0
    consumer.connect(turning.subscribe)
    consumer.subscribe(TRADES.key)
    consumer.subscribe(b"snapshot/x/" + TRADES.key)
    assert consumer.recv().startswith(b"snapshot/x/")  # its live subscription is in force
    publisher = attach(plain, turning.publish)
    for number in range(1, count + 1):
        publisher.send(trade(number))
    for number in range(1, count + 1):
        assert consumer.poll(5_000)
        assert decode_frame(consumer.recv()).seq == number
