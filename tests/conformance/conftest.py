"""A real broker, real bridge processes and publishers, and clients that check what they read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bus.client import Publisher
from bus.client.publisher import TopicWriter
from bus.clock import now_ns
from bus.config import load
from bus.model import Body
from bus.model.topic import Topic
from bus.testing import eventually, wait_until
from tests.wsbridge.schema import check_message

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE_S = 30.0
_ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


class BridgeProcess:
    """One bridge process and its address."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.http_url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"

    def rss_bytes(self) -> int:
        """Memory of the process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        """End it, gently and then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def _run_bridge(config: Path, name: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "bus.wsbridge", "--config", str(config), "--name", name],
            cwd=ROOT,
            env=_ENV,
            stderr=stderr,
        )


StartBridge = Callable[..., Awaitable[BridgeProcess]]


@pytest.fixture(scope="session")
def broker_dir() -> Iterator[Path]:
    """The run directory of a broker process that all conformance tests share."""
    path = Path(tempfile.mkdtemp(prefix="mdb-"))
    config = path / "mdbus.toml"
    config.write_text(f'run_dir = "{path}"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "bus.broker", "--config", str(config), "--name", "broker"],
        cwd=ROOT,
        env=_ENV,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (path / "subscribe.sock").exists(), DEADLINE_S, "the broker listens")
    yield path
    process.terminate()
    process.wait(10)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def start_bridge(
    broker_dir: Path, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[StartBridge]:
    """Start bridge processes with lines for ``[bridge]``, ``more`` lines before it and
    ``tables`` after it; they are ended afterwards."""
    running: list[BridgeProcess] = []

    async def start(*lines: str, more: str = "", tables: str = "") -> BridgeProcess:
        port = free_port()
        name = f"bridge.{len(running) + 1}"
        config = tmp_path / f"{name}.toml"
        basic = [f"port = {port}", "linger_s = 0.0", *lines]
        quick = "[bridge.limits]\nactions_per_s = 1e6\nactions_burst = 1000000\n"
        own = "\n".join(basic)
        config.write_text(f'run_dir = "{broker_dir}"\n{more}\n[bridge]\n{own}\n{quick}{tables}')
        log = tmp_path / f"{name}.log"
        process = _run_bridge(config, name, log)
        bridge = BridgeProcess(process, port, log)
        running.append(bridge)
        async with httpx.AsyncClient() as http:

            async def is_ready() -> bool:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get(f"{bridge.http_url}/readyz")).status_code == 200
                return False

            await eventually(is_ready, DEADLINE_S, "the bridge is ready")
        return bridge

    yield start
    for bridge in running:
        bridge.stop()
        assert "Traceback" not in bridge.log.read_text()


class Feed:
    """A publisher with a short way to say things."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._writers: dict[Topic, TopicWriter] = {}

    def say(self, stream: str, symbol: str, body: Body) -> int:
        """Publish a tick of the simulated venue; its seq."""
        topic = Topic.md(stream, "sim", symbol)
        return self.say_on(topic, body)

    def say_on(self, topic: Topic, body: Body) -> int:
        """Publish on any topic; its seq."""
        writer = self._writers.get(topic)
        if writer is None:
            writer = self._writers[topic] = self.publisher.writer(topic)
        at_ns = now_ns()
        return writer.publish(body, venue_ts_ns=at_ns, recv_ts_ns=at_ns)


@pytest.fixture
async def feed(broker_dir: Path) -> AsyncIterator[Feed]:
    """A publisher that the broker has attached to."""
    one = Publisher(load(None, [f"run_dir={broker_dir}"]).endpoints.publish)
    try:
        one.attach_loop()
        await eventually(lambda: one.stats().attached >= 1, DEADLINE_S, "the broker attached")
        yield Feed(one)
    finally:
        one.close()


class Client:
    """A WebSocket client that holds every message against the schema."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self._waiting: list[dict[str, Any]] = []

    async def say(self, **request: Any) -> None:
        """Send one request in the connection's codec."""
        if self.ws.subprotocol == "mdbus.v1.msgpack":
            await self.ws.send(msgspec.msgpack.encode(request))
        else:
            await self.ws.send(msgspec.json.encode(request).decode())

    async def next(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next message; of an array one after the other."""
        if not self._waiting:
            data = await asyncio.wait_for(self.ws.recv(), timeout_s)
            found: Any = (
                msgspec.json.decode(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
            )
            check_message(found)
            self._waiting = found if isinstance(found, list) else [found]
        return self._waiting.pop(0)

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of a type with these fields, skipping others."""
        while True:
            message = await self.next()
            if message["type"] == kind and fields.items() <= message.items():
                return message

    async def end(self) -> tuple[int, str]:
        """The close code and reason, after everything else."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        code, reason = self.ws.close_code, self.ws.close_reason
        assert code is not None, "closed without a close frame"
        return code, reason or ""


Join = Callable[..., Awaitable[Client]]


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Connect clients; full and JSON unless said otherwise. They are gone afterwards."""
    open_ones: list[ClientConnection] = []

    async def start(
        bridge: BridgeProcess,
        path: str = "/ws/v1/",
        codec: str | None = "json",
        **options: Any,
    ) -> Client:
        offered = None if codec is None else [Subprotocol(f"mdbus.v1.{codec}")]
        settings: dict[str, Any] = {"max_queue": None, "compression": None, **options}
        ws = await connect(bridge.ws_url + path, subprotocols=offered, **settings)
        open_ones.append(ws)
        return Client(ws)

    yield start
    for ws in open_ones:
        ws.transport.abort()
