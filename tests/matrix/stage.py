"""Where the matrix is played: simulator and broker as processes, one feed on the test's loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import zmq

from bus.config import load
from bus.feeds.process import body
from bus.runtime import Life
from bus.testing import wait_until
from tests.e2e.running_bus import ROOT, free_ports

Report = Callable[[], Mapping[str, int | float | str]]


@dataclass
class Stage:
    """A running simulator and broker, with nothing supervising them."""

    run_dir: Path
    config: Path
    port: int

    @property
    def subscribe(self) -> str:
        return f"ipc://{self.run_dir}/subscribe.sock"

    def get(self, path: str, **query: str | int | float) -> Any:
        """A GET request to the simulated Binance; its JSON. Refusals are errors."""
        reply = httpx.get(
            f"http://127.0.0.1:{self.port}{path}", params=query, timeout=5, trust_env=False
        )
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def fault(self, kind: str, **query: str | int | float) -> float:
        """Order a fault; the moment before it (monotonic seconds)."""
        asked_s = time.monotonic()
        await asyncio.to_thread(self.get, "/_sim/fault", kind=kind, **query)
        return asked_s

    async def state(self) -> dict[str, Any]:
        """The control endpoint's view."""
        state: dict[str, Any] = await asyncio.to_thread(self.get, "/_sim/state")
        return state

    async def happened(self, kind: str) -> int:
        """How often a fault has come to pass."""
        count: int = (await self.state())["armed"]["happened"].get(kind, 0)
        return count

    async def connections_total(self) -> int:
        count: int = (await self.state())["figures"]["binance_connections_total"]
        return count


class FeedLife(Life):
    """The life of a feed that shares the test's loop; its counters can be asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name, None)
        self._report: Report = dict
        self.started = False

    @property
    def report(self) -> Report:
        """What every heartbeat would hold."""
        return self._report

    @report.setter
    def report(self, report: Report) -> None:
        self._report = report

    def ready(self, endpoints: Mapping[str, str] | None = None) -> None:
        """The feed serves."""
        self.started = True

    def __getitem__(self, counter: str) -> int | float | str:
        """One counter of the heartbeat."""
        return self._report()[counter]


@asynccontextmanager
async def feed(
    stage: Stage, *overrides: str, name: str = "feed.binance"
) -> AsyncIterator[FeedLife]:
    """The real feed, door to socket, with settings of its own; it must end well.

    It shares nothing with the feeds of other tests: no budget, no attempts counted.
    """
    life = FeedLife(name)
    shared = f'feeds.{name.removeprefix("feed.")}.shared_dir="{stage.run_dir}/{uuid4().hex}"'
    task = asyncio.ensure_future(body(life, load(stage.config, [shared, *overrides])))
    try:
        yield life
        assert not task.done(), "the feed ended"
    finally:
        life.stopping.set()
        await asyncio.wait_for(task, 10)


@contextmanager
def process(stage: Stage, package: str, name: str) -> Iterator[None]:
    """One process of the bus, without a supervisor, to the end of the block."""
    with (stage.run_dir / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", package, "--config", str(stage.config), "--name", name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
    try:
        yield
        assert running.poll() is None, (stage.run_dir / f"{name}.log").read_text()[-3000:]
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(15)


@contextmanager
def staged(run_dir: Path, *, activity: float = 1.0) -> Iterator[Stage]:
    """Simulator and broker, serving."""
    binance, finnhub = free_ports(2)
    config = run_dir / "mdbus.toml"
    config.write_text(
        f'run_dir = "{run_dir}"\n'
        "[feeds.finnhub]\nenabled = false\n"
        "[feeds.binance]\nrest_weight_per_minute = 100000\n"
        f"[simulator]\nports.binance = {binance}\nports.finnhub = {finnhub}\n"
        f"activity = {activity}\n"
        "weight_per_min = 100000  # one minute's limit is not to be met by the tests together\n"
    )
    stage = Stage(run_dir, config, binance)
    with process(stage, "bus.broker", "broker"), process(stage, "bus.simulator", "simulator"):
        wait_until(lambda: _serves(stage), 30, "the simulator serves")
        with zmq.Context() as context, context.socket(zmq.XPUB) as probe:
            probe.linger = 0
            probe.connect(f"ipc://{run_dir}/publish.sock")
            assert probe.poll(10_000), "the broker does not serve"
        yield stage


def _serves(stage: Stage) -> bool:
    try:
        stage.get("/_sim/state")
    except httpx.TransportError:
        return False
    return True
