"""Point 21: 800 handshakes that never come to their end hold nobody up, and are all dropped."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from bus.testing import eventually
from tests.conformance.workers import workers
from tests.wsbridge.clients import said

COUNT = 800
DEADLINE_S = 5.0
REQUEST = b"GET /ws/v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


class HalfOpen(asyncio.Protocol):
    """Says one byte every half second, and never the last one."""

    def __init__(self) -> None:
        self.ended_s = 0.0
        self.began_s = time.monotonic()
        self._said = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._say()

    def _say(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(REQUEST[self._said : self._said + 1] or b"x")
            self._said += 1
            asyncio.get_running_loop().call_later(0.5, self._say)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended_s = time.monotonic() - self.began_s


async def test_slow_handshakes_hold_nobody_up_and_end_at_the_deadline(run_dir: Path) -> None:
    settings = (
        "[bridge]\nport = 0\ndrain_s = 0.1\nclose_timeout_s = 0.1\n"
        f"handshake_timeout_s = {DEADLINE_S}\n"
    )
    with workers(run_dir, settings) as (worker,):
        loop = asyncio.get_running_loop()
        slow: list[HalfOpen] = []
        for _ in range(COUNT):
            sock = socket.create_connection(("127.0.0.1", worker.port))
            _, one = await loop.create_connection(HalfOpen, sock=sock)
            slow.append(one)
        took_s = []
        for _ in range(40):
            began_s = time.monotonic()
            async with connect(f"{worker.ws_url}/ws/v1/") as client:
                assert (await said(client))["status"] == "connected"
                took_s.append(time.monotonic() - began_s)
        took_s.sort()
        assert took_s[len(took_s) // 2] < 0.05, f"the median of {took_s}"
        await eventually(lambda: all(one.ended_s for one in slow), 30, "all are dropped")
        assert max(one.ended_s for one in slow) < DEADLINE_S + 10
        text = (await asyncio.to_thread(httpx.get, f"{worker.admin_url}/metrics")).text
        assert f'mdbus_bridge_handshakes_dropped_total{{worker="bridge.1"}} {COUNT}.0' in text
        assert 'mdbus_bridge_connections{worker="bridge.1"} 0.0' in text
