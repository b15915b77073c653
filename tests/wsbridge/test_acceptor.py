"""Accepting over real sockets: many a turn, nobody lost, and what happens without descriptors."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from bus.testing import eventually
from bus.wsbridge import acceptor as acceptor_module
from bus.wsbridge.acceptor import ACCEPTS_PER_TURN, Acceptor
from bus.wsbridge.listening import bind


class Greeter(asyncio.Protocol):
    def __init__(self, made: list[Greeter]) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_lost = False
        made.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        is_prompt = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.transport.write(b"hello" if is_prompt else b"late")


class Listening:
    def __init__(self, sock: socket.socket) -> None:
        self.made: list[Greeter] = []
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self.acceptor = Acceptor(sock, lambda: Greeter(self.made))

    def dial(self, count: int) -> list[socket.socket]:
        """Connections whose handshake the kernel does alone."""
        return [socket.create_connection(("127.0.0.1", self.port), 10) for _ in range(count)]


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    one = Listening(bind("127.0.0.1", 0))
    one.acceptor.start()
    yield one
    one.acceptor.close()
    await one.acceptor.settled()
    for greeter in one.made:
        if greeter.transport is not None:
            greeter.transport.abort()
    await eventually(lambda: all(greeter.is_lost for greeter in one.made))


async def test_a_crowd_is_taken_in_bounded_turns(listening: Listening, loop_kind: str) -> None:
    count = 3 * ACCEPTS_PER_TURN
    dialled = listening.dial(count)
    most = 0
    while len(listening.made) < count:
        before = len(listening.made)
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await asyncio.wait_for(turn, 10)
        most = max(most, len(listening.made) - before)
    assert 1 < most <= ACCEPTS_PER_TURN * 2, "many a turn, and not all of them"
    loop = asyncio.get_running_loop()
    for sock in dialled:
        sock.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(sock, 10), 10) == b"hello"
        sock.close()


async def test_who_was_accepted_before_the_end_gets_his_protocol(
    listening: Listening, loop_kind: str
) -> None:
    (sock,) = listening.dial(1)
    listening.acceptor._accept()
    pending = [listening.acceptor.has_pending]
    listening.acceptor.close()
    listening.acceptor.close()
    await asyncio.wait_for(listening.acceptor.settled(), 10)
    pending.append(listening.acceptor.has_pending)
    assert pending == [True, False]
    sock.setblocking(False)
    received = asyncio.get_running_loop().sock_recv(sock, 10)
    assert await asyncio.wait_for(received, 10) == b"hello"
    sock.close()
    with pytest.raises(ConnectionRefusedError):
        listening.dial(1)


class Exhausted:
    """A listening socket in a process that has no descriptor left, until ``is_over``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.is_over = False

    def accept(self) -> Any:
        if not self.is_over:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


async def test_without_descriptors_it_waits_and_goes_on(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, loop_kind: str
) -> None:
    monkeypatch.setattr(acceptor_module, "PAUSE_S", 0.02)
    exhausted = Exhausted(listening.sock)
    monkeypatch.setattr(listening.acceptor, "_sock", exhausted)
    (sock,) = listening.dial(1)
    await eventually(lambda: listening.acceptor.pauses >= 2, 10, "asked again, not at once")
    assert not listening.made
    exhausted.is_over = True
    await eventually(lambda: len(listening.made) == 1, 10, "the kernel kept the connection")
    sock.close()
