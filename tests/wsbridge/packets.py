"""A client of a bridge on a socket on which every system call that writes is a packet."""

from __future__ import annotations

import socket

from bus.wsbridge.bridge import Bridge
from tests.wsbridge.makers import T0_NS, FakeClient


class SocketClient(FakeClient):
    """A client on a real socket, which shared frames may reach past it; a write is a packet."""

    def __init__(
        self, bridge: Bridge, url: str = "/ws/market-multi/", subprotocol: str | None = None
    ) -> None:
        super().__init__(bridge, url, subprotocol)
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.is_open = True
        self.own_writes = 0
        self.packets = 0
        self.rests: list[bytes] = []
        bridge.opened(self, T0_NS)
        self.reroute()
        self.read()

    def route(self) -> int:
        return self.near.fileno() if self.is_direct and self.is_open else -1

    def reroute(self) -> None:
        self._bridge.fanout.out.rerouted()

    def write(self, blob: bytes) -> None:
        self.own_writes += 1
        assert self.near.send(blob) == len(blob)

    def write_rest(self, blob: bytes, taken: int) -> None:
        if self.is_faulty:
            raise RuntimeError("a fault of ours")
        self.rests.append(blob[taken:])

    def fill(self) -> None:
        """Let the kernel's buffer be full."""
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        while True:
            try:
                self.near.send(b"\x81\x02{}" * 64)
            except BlockingIOError:
                return

    def read(self) -> int:
        """Take what is in the socket, for ``got``; how many bytes."""
        size = self.packets = 0
        while True:
            try:
                blob = self.far.recv(1_000_000)
            except BlockingIOError:
                return size
            size += len(blob)
            self.packets += 1
            super().write(blob)

    def end(self) -> None:
        self.near.close()
        self.far.close()
