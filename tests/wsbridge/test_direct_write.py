"""Bytes past the transport: order with what it holds, full sockets, dead ones, reused numbers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from bus.testing import eventually
from bus.wsbridge.direct_write import Descriptors, write_at_once, write_to_all

DESCRIPTORS = Descriptors(1_000)


class Writer(asyncio.Protocol):
    """A connection that writes as the bridge's do."""

    def __init__(self) -> None:
        self.transport = cast(asyncio.Transport, None)
        self.fd = -1
        self.is_paused = False
        self.is_lost = False
        self.direct = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.fd = DESCRIPTORS.own(self.transport)
        self.transport.set_write_buffer_limits(high=0, low=0)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        DESCRIPTORS.close(self.fd)

    def write(self, blob: bytes) -> None:
        sent = 0 if self.is_paused else write_at_once(self.fd, blob)
        self.direct += sent == len(blob)
        if sent < len(blob):
            self.transport.write(blob[sent:])


Pair = tuple[Writer, socket.socket]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A connection with a small buffer in the kernel, and its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    _, writer = await loop.connect_accepted_socket(Writer, near)
    yield writer, far
    far.close()
    writer.transport.abort()
    await eventually(lambda: writer.is_lost)


async def test_what_the_kernel_does_not_take_follows_in_order(pair: Pair, loop_kind: str) -> None:
    writer, far = pair
    loop = asyncio.get_running_loop()
    sent, received, number, rounds = bytearray(), bytearray(), 0, 0
    while rounds < 5:
        while not writer.is_paused:
            blob = number.to_bytes(4, "big") * 900
            number += 1
            sent += blob
            writer.write(blob)
        for _ in range(3):  # behind: everything goes to the transport, in small pieces too
            sent += b"after"
            writer.write(b"after")
        rounds += 1
        while len(received) < len(sent):
            received += await asyncio.wait_for(loop.sock_recv(far, 65_536), 10)
        await eventually(lambda: not writer.is_paused)
    assert received == sent
    assert writer.direct > 10


async def test_a_closed_transport_leaves_the_number_taken_until_the_connection_is_lost(
    pair: Pair, loop_kind: str
) -> None:
    """Else it might be another connection's, or a file's, when the next message is written."""
    writer, _ = pair
    fd = writer.fd
    writer.transport.abort()
    pipes = [os.pipe() for _ in range(10)]
    try:
        assert fd not in [end for pipe in pipes for end in pipe]
        write_at_once(fd, b"late")
        for reader, _ in pipes:
            os.set_blocking(reader, False)
            with pytest.raises(BlockingIOError):
                os.read(reader, 100)
    finally:
        for end in [end for pipe in pipes for end in pipe]:
            os.close(end)
    await eventually(lambda: writer.is_lost)


async def test_the_other_end_sees_the_close_when_the_connection_is_lost(
    pair: Pair, loop_kind: str
) -> None:
    writer, far = pair
    writer.transport.close()
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.sock_recv(far, 100), 10) == b""


async def test_no_descriptor_to_be_had_means_that_nothing_is_taken(
    pair: Pair, loop_kind: str
) -> None:
    writer, _ = pair
    few = Descriptors(1)
    first = few.own(writer.transport)
    assert first >= 0
    assert few.own(writer.transport) == -1
    few.close(first)
    again = few.own(writer.transport)
    assert again >= 0
    few.close(again)
    assert write_at_once(-1, b"x") == 0


def test_who_does_not_take_everything_is_named_and_the_others_have_it() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        for near, _ in pairs:
            near.setblocking(False)
        full, dead = pairs[1][0], pairs[2]
        dead[1].close()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        while write_at_once(full.fileno(), b"x" * 512):
            pass
        fds = [near.fileno() for near, _ in pairs]
        assert write_to_all(fds, b"tick") == [(full.fileno(), 0), (dead[0].fileno(), 0)]
        assert pairs[0][1].recv(100) == b"tick"
        pairs[1][1].recv(1_024)
        while not (short := write_to_all([full.fileno()], b"y" * 100_000)):
            pass
        assert short[0][1] < 100_000
    finally:
        for near, far in pairs:
            near.close()
            far.close()


async def test_a_dead_connection_is_found_out_by_the_transport(pair: Pair, loop_kind: str) -> None:
    writer, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    far.close()  # a reset

    def is_lost() -> bool:
        if not writer.transport.is_closing():
            writer.write(b"x" * 1000)
        return writer.is_lost

    await eventually(is_lost)


async def test_a_full_socket_takes_nothing_and_raises_nothing(pair: Pair, loop_kind: str) -> None:
    writer, _ = pair
    total = 0
    while sent := write_at_once(writer.fd, b"x" * 3_000):
        total += sent
    assert total > 3_000
    assert write_at_once(writer.fd, b"x") == 0
