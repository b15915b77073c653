"""A real broker process, a publisher and a bridge on the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bus.client import Publisher
from bus.config import Settings, load
from bus.testing import eventually, wait_until
from bus.wsbridge.server import Server

ROOT = Path(__file__).resolve().parent.parent.parent

StartServer = Callable[..., Awaitable["RunningServer"]]


class RunningServer:
    """A bridge that listens on a port of its own."""

    def __init__(self, server: Server, http_url: str) -> None:
        self.server = server
        self.http_url = http_url
        self.ws_url = http_url.replace("http", "ws")
        self.port = int(http_url.rpartition(":")[2])


RawClient = Callable[
    [RunningServer, str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]


@pytest.fixture(scope="session")
def broker_dir() -> Iterator[Path]:
    """The run directory of a real broker process that all tests of this folder share."""
    path = Path(tempfile.mkdtemp(prefix="mdb-"))
    config = path / "mdbus.toml"
    config.write_text(f'run_dir = "{path}"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "bus.broker", "--config", str(config), "--name", "broker"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (path / "subscribe.sock").exists(), 20, "the broker listens")
    yield path
    process.terminate()
    process.wait(10)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def bus_settings(broker_dir: Path) -> Settings:
    """Settings of that broker, and of a bridge on any free port."""
    return load(None, [f"run_dir={broker_dir}", "bridge.port=0", "bridge.linger_s=0"])


@pytest.fixture
async def start_server(broker_dir: Path) -> AsyncIterator[StartServer]:
    """Start bridges with overrides; they are closed afterwards."""
    running: list[Server] = []

    async def start(*overrides: str) -> RunningServer:
        basic = [f"run_dir={broker_dir}", "bridge.port=0", "bridge.linger_s=0"]
        server = Server(load(None, [*basic, *overrides]), "bridge.1")
        running.append(server)
        url = await server.start()
        await eventually(lambda: server.upstream.is_connected, 10, "the bridge is on the bus")
        return RunningServer(server, url)

    yield start
    for server in running:
        await server.close()


@pytest.fixture
async def publisher(bus_settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher that the broker has attached to."""
    one = Publisher(bus_settings.endpoints.publish)
    try:
        one.attach_loop()
        await eventually(lambda: one.stats().attached >= 1, 10, "the broker attached")
        yield one
    finally:
        one.close()


@pytest.fixture
async def raw_client() -> AsyncIterator[RawClient]:
    """WebSocket clients that do nothing by themselves: they read when told, and never answer."""
    writers: list[asyncio.StreamWriter] = []

    async def start(
        running: RunningServer, path: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", running.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**12)
        writers.append(writer)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        return reader, writer

    yield start
    for writer in writers:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
