"""``kill -9`` of each process in turn, with ZeroMQ and WebSocket clients attached throughout."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bus.client import AsyncSubscriber, EpochChange, Gap, Update
from bus.testing import eventually
from tests.e2e.running_bus import RunningBus
from tests.stalls import Stalls

TOPICS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


@dataclass
class Consumers:
    """One ZeroMQ consumer and one WebSocket client, neither of which is ever restarted."""

    updates: int = 0
    holes: int = 0
    gaps: int = 0
    epochs: int = 0
    messages: int = 0
    connections: int = 0
    ws_holes: int = 0
    last: dict[str, tuple[int, int]] = field(default_factory=dict)
    bridges: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, event: object) -> None:
        """Count what the bus delivered, and every hole that was not reported."""
        if isinstance(event, Gap):
            self.gaps += 1
            self.last.pop(event.topic.name, None)
        elif isinstance(event, EpochChange):
            self.epochs += 1
        elif isinstance(event, Update):
            tick = event.tick
            name = tick.topic.name
            before = self.last.get(name)
            if before is not None:
                assert (tick.epoch, tick.seq) > before, f"{name} went back"
                if before[0] == tick.epoch and tick.seq != before[1] + 1:
                    self.holes += 1
            self.last[name] = (tick.epoch, tick.seq)
            self.updates += 1


@asynccontextmanager
async def attached(bus: RunningBus) -> AsyncIterator[Consumers]:
    """Clients that go on by themselves while the body kills things."""
    consumers = Consumers()

    async def zmq_consumer() -> None:
        async with AsyncSubscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
            subscriber.subscribe("md/trades/")
            async for event in subscriber:
                consumers.take(event)

    async def ws_client() -> None:
        while True:  # reconnecting is the client's part of the contract
            with suppress(ConnectionClosed, OSError):
                url = f"ws://127.0.0.1:{bus.port}/ws/market/BTC/trades/"
                async with connect(url, subprotocols=[Subprotocol("mdbus.v1.json")]) as ws:
                    consumers.connections += 1
                    last = None
                    async for text in ws:
                        message = json.loads(text)
                        if message["type"] == "connection":
                            consumers.bridges[message["connection_id"].split("-")[0]] += 1
                        if message["type"] == "gap":  # what the broker took with it, announced
                            last = message["to"]
                        if message["type"] != "trade":
                            continue
                        place = (message.get("epoch"), message["seq"])
                        consumers.ws_holes += last is not None and place[1] not in (
                            last + 1,
                            1,
                        )
                        last = place[1]
                        consumers.messages += 1

    tasks = [asyncio.create_task(zmq_consumer()), asyncio.create_task(ws_client())]
    try:
        await eventually(lambda: consumers.updates > 10, 20, "the ZeroMQ client gets trades")
        await eventually(lambda: consumers.messages > 3, 20, "the WebSocket client gets trades")
        yield consumers
        for task in tasks:
            assert not task.done(), f"a client died: {task}"
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) for e in ended), (ended, consumers)


@pytest.mark.parametrize(
    "name", ["feed.binance", "feed.finnhub", "broker", "simulator", "bridge.1", "bridge.2"]
)
async def test_after_kill_9_everybody_goes_on(
    bus: RunningBus, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with attached(bus) as consumers:
        restarts = (await asyncio.to_thread(bus.process, name))["restarts"]
        old_pid = await asyncio.to_thread(bus.kill, name)
        seconds = await asyncio.to_thread(bus.wait_ready_again, name, old_pid)
        with capsys.disabled():
            print(f"\n  kill -9 {name}: ready again after {seconds * 1000:.0f} ms")
        row = await asyncio.to_thread(bus.process, name)
        assert row["restarts"] == restarts + 1
        assert row["last_exit"]
        updates, messages = consumers.updates, consumers.messages
        await eventually(lambda: consumers.updates > updates + 50, 30, "ZeroMQ updates go on")
        await eventually(lambda: consumers.messages > messages + 20, 30, "WebSocket goes on")
        # Nothing was lost in silence: a hole in a sequence is repaired, or it is reported.
        assert consumers.holes == 0
        assert consumers.ws_holes == 0
        others = (await asyncio.to_thread(bus.status))["processes"]
        assert all(p["state"] == "ready" for p in others)
        await eventually(lambda: _live(bus), 30, "status topics live again")


async def _live(bus: RunningBus) -> bool:
    done = await asyncio.to_thread(bus.cli, "get", "sys/status/binance/", "--json")
    if done.returncode != 0:
        return False
    state: str = json.loads(done.stdout)["body"]["state"]
    return bool(state == "live")


async def test_a_dead_feed_is_reported_down_within_a_second(
    make_bus: Callable[..., RunningBus],
) -> None:
    """The supervisor speaks for a feed that cannot speak for itself. One that crashes again and
    again, here by what counts as stable: a successor that is there at once speaks for itself."""
    bus = make_bus("[supervisor]\nstable_after_s = 600.0\nbackoff_first_s = 3.0")
    await asyncio.to_thread(bus.up)
    states: list[str] = []

    async def watch() -> None:
        async with AsyncSubscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
            subscriber.subscribe("sys/status/binance/")
            async for event in subscriber:
                if isinstance(event, Update) and event.tick.topic.symbol == "":
                    states.append(event.tick.body.state)  # type: ignore[union-attr]

    task = asyncio.create_task(watch())
    await eventually(lambda: states and states[-1] == "live", 20, "live at first")
    old_pid: int = (await asyncio.to_thread(bus.process, "feed.binance"))["pid"]
    with Stalls() as stalls:
        killed_s = time.monotonic()
        os.kill(old_pid, signal.SIGKILL)
        await eventually(lambda: "down" in states, 20, "down")
        assert time.monotonic() - killed_s < 1 + stalls.allowance_s(killed_s)
    await eventually(lambda: states[-1] == "live", 30, "live again")
    await asyncio.to_thread(bus.wait_ready_again, "feed.binance", old_pid)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
