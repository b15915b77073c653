"""Taken down with clients connected: each is let go in time, and none is cut off."""

from __future__ import annotations

import asyncio
import resource
import struct
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.running_bus import RunningBus

CLIENTS = 1_300
_UPGRADE = (
    b"GET /ws/v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_AT_ONCE = 100


async def stay(port: int, gate: asyncio.Semaphore, inside: asyncio.Event, left: list[int]) -> int:
    """Connect, and stay until the other end closes: its close code, 0 for none.

    ``left`` counts down those who are not inside yet.
    """
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_UPGRADE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    left[0] -= 1
    if not left[0]:
        inside.set()
    code = 0
    try:
        while True:
            first, length = await reader.readexactly(2)
            size = length
            if length == 126:
                (size,) = struct.unpack(">H", await reader.readexactly(2))
            payload = await reader.readexactly(size)
            if first == 0x88:
                (code,) = struct.unpack(">H", payload[:2])
                writer.write(b"\x88\x82\0\0\0\0" + payload[:2])
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()
    return code


@pytest.fixture
def many_files() -> None:
    """Room for a socket a client; the test is skipped where there is none."""
    wanted = CLIENTS + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the system allows {hard} open files, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def test_to_take_everything_down_takes_no_drain(make_bus: Callable[..., RunningBus]) -> None:
    """Nobody is there to go to: a client is told, and let go at once."""
    bus = make_bus()
    await asyncio.to_thread(bus.up, "bridge.workers=1", "bridge.drain_s=120")
    gate, inside = asyncio.Semaphore(1), asyncio.Event()
    client = asyncio.create_task(stay(bus.port, gate, inside, [1]))
    await asyncio.wait_for(inside.wait(), 20)
    done = await asyncio.to_thread(bus.cli, "down", timeout_s=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert await asyncio.wait_for(client, 20) == 4001


@pytest.mark.usefixtures("many_files")
async def test_a_stop_lets_every_client_go_however_long_that_takes(
    make_bus: Callable[..., RunningBus],
) -> None:
    bus = make_bus()
    await asyncio.to_thread(bus.up, "bridge.workers=1", "bridge.drain_s=1")
    gate, inside, left = asyncio.Semaphore(_AT_ONCE), asyncio.Event(), [CLIENTS]
    clients = [asyncio.create_task(stay(bus.port, gate, inside, left)) for _ in range(CLIENTS)]
    await asyncio.wait_for(inside.wait(), 60)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    done = await asyncio.to_thread(bus.cli, "down", timeout_s=90)
    took_s = loop.time() - began_s
    assert done.returncode == 0, done.stdout + done.stderr
    codes = Counter(await asyncio.gather(*clients))
    assert codes == {4001: CLIENTS}
    assert took_s > CLIENTS / 200, "no more than 200 a second"
    log = (bus.run_dir / "log" / "bridge.1.log").read_text()
    assert "clients did not answer" not in log
