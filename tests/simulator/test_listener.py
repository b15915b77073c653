"""The listening end: ports that cannot be had, and strangers who speak no HTTP."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bus.simulator.http_reply import reply, to_response
from bus.simulator.listener import Listener, PortTaken
from tests.simulator.conftest import Serve


async def nothing(_connection: ServerConnection) -> None:
    """Serve no WebSocket."""


async def hello(_connection: ServerConnection, _request: Request) -> Response | None:
    return to_response(reply("hello"))


async def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(PortTaken, match=r"cannot listen on 192\.0\.2\.1 port 0: .* a\.setting"):
        await Listener(nothing, hello).start("192.0.2.1", 0, "a.setting")


async def test_the_error_carries_its_facts() -> None:
    error = PortTaken("127.0.0.1", 8011, "simulator.ports.binance", "it is in use")
    assert (error.host, error.port, error.setting) == ("127.0.0.1", 8011, "simulator.ports.binance")


async def test_closing_before_starting_is_no_error() -> None:
    await Listener(nothing, hello).close()


async def test_an_answer_that_takes_too_long_does_not_hold_up_the_close() -> None:
    async def never(_connection: ServerConnection, _request: Request) -> Response | None:
        await asyncio.Event().wait()
        return None

    listener = Listener(nothing, never)
    port = await listener.start("127.0.0.1", 0, "a.setting")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await listener.close()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"EHLO there\r\n\r\n",
        b"POST /api/v3/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"\r\n\r\n",
    ],
)
async def test_strangers_are_disconnected_and_leave_no_trace(
    binance: Serve, data: bytes, caplog: pytest.LogCaptureFixture, loop_kind: str
) -> None:
    async with binance() as venue:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):  # as good as an end of file
            await reader.read()
        writer.close()
        assert (await venue.get("/api/v3/ping")).status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
