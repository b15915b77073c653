"""The bridge's side of the bus: a broker that goes and comes back costs no message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.client import Publisher
from bus.client.deliveries import Delivery, Message, SnapshotEnded
from bus.clock import now_ns
from bus.config import load
from bus.model import Price, Trade
from bus.model.topic import Topic
from bus.testing import eventually, wait_until
from bus.wsbridge.upstream import Upstream
from tests.wsbridge.conftest import ROOT

TRADES = Topic.md("trades", "sim", "BTC-USDT")


class Broker:
    """A broker process that can be killed and started again."""

    def __init__(self, run_dir: Path) -> None:
        self.endpoints = load(None, [f"run_dir={run_dir}"]).endpoints
        self._run_dir = run_dir
        self._config = run_dir / "mdbus.toml"
        self._config.write_text(f'run_dir = "{run_dir}"\n')
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bus.broker", "--config", str(self._config), "--name", "broker"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: (self._run_dir / "subscribe.sock").exists(), 20)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def broker(run_dir: Path) -> Iterator[Broker]:
    one = Broker(run_dir)
    yield one
    one.kill()


async def test_a_broker_that_comes_back_is_caught_up_with(broker: Broker, loop_kind: str) -> None:
    got: list[Delivery] = []
    upstream = Upstream(broker.endpoints.subscribe, receive_hwm=1000, on_batch=got.extend)
    publisher: Publisher | None = None
    try:
        upstream.start()
        upstream.subscribe(TRADES.key)
        assert not upstream.is_connected, "the bridge may start before the broker"
        broker.start()
        await eventually(lambda: upstream.is_connected)
        publisher = Publisher(broker.endpoints.publish)
        publisher.attach_loop()
        attached = publisher.stats
        await eventually(lambda: attached().attached == 1)
        writer = publisher.writer(TRADES)

        def seqs() -> list[int]:
            return [one.seq for one in got if isinstance(one, Message)]

        def publish(count: int) -> None:
            for _ in range(count):
                writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())

        await eventually(lambda: any(isinstance(one, SnapshotEnded) for one in got))
        publish(1000)
        await eventually(lambda: len(seqs()) == 1000)
        broker.kill()
        await eventually(lambda: not upstream.is_connected)
        broker.start()
        await eventually(lambda: upstream.is_connected)
        await eventually(lambda: attached().attached == 2)
        price = publisher.writer(Topic.md("price", "sim", "BTC-USDT"))
        price.publish(Price(1.0), venue_ts_ns=None, recv_ts_ns=now_ns())
        publish(10)
        await eventually(lambda: len(seqs()) == 1010)
        assert seqs() == list(range(1, 1011))
        assert upstream.batches > 1
    finally:
        upstream.close()
        if publisher is not None:
            publisher.close()


async def test_unsubscribing_ends_the_deliveries(broker: Broker) -> None:
    broker.start()
    got: list[Delivery] = []
    upstream = Upstream(broker.endpoints.subscribe, receive_hwm=1000, on_batch=got.extend)
    publisher = Publisher(broker.endpoints.publish)
    try:
        upstream.start()
        publisher.attach_loop()
        await eventually(lambda: publisher.stats().attached == 1)
        one, other = (publisher.writer(Topic.md("trades", "sim", s)) for s in ("ONE", "OTHER"))
        upstream.subscribe(one.topic.key)
        upstream.subscribe(other.topic.key)
        await eventually(lambda: len(got) == 2)
        upstream.unsubscribe(one.topic.key)

        async def has_other() -> bool:
            for writer in (one, other):
                writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())
            return any(isinstance(d, Message) and d.topic == other.topic.key for d in got)

        await eventually(has_other)
        mine = [d for d in got if isinstance(d, Message) and d.topic == one.topic.key]
        assert mine == []
    finally:
        upstream.close()
        publisher.close()
