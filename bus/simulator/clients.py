"""One WebSocket client of a simulated venue: bounded sending and the venue's own strictness.

A message is queued without waiting, as the venues do. What a client leaves unread is bounded:
beyond ``buffer_bytes`` it is cut off (TCP abort, seen as close code 1006) and counted, because a
close frame would only join the end of the queue it does not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.protocol import Event
from websockets.protocol import State as State

_numbers = itertools.count(1)


@dataclass(slots=True)
class Traffic:
    """What one server has sent and received since it started; one instance a server."""

    connections: int = 0
    connections_total: int = 0
    refused_connections: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    requests: int = 0
    slow_clients: int = 0
    flood_clients: int = 0

    def figures(self, prefix: str) -> dict[str, int]:
        """The counters for a heartbeat, each name led by ``prefix``."""
        return {f"{prefix}_{name}": getattr(self, name) for name in self.__slots__}


class WatchedConnection(ServerConnection):
    """A server connection that tells how many frames of any kind came in (pings and pongs too)."""

    on_frame: Callable[[], None] | None = None

    def process_event(self, event: Event) -> None:
        """Count the frame, then handle it as usual."""
        is_frame = self.request is not None
        super().process_event(event)
        if is_frame and self.on_frame is not None:
            self.on_frame()


class Client:
    """The sending side of one connection. Messages leave in the order of the calls."""

    __slots__ = (
        "_buffer_bytes",
        "_is_cut_off",
        "_pair",
        "_traffic",
        "bytes_out",
        "connection",
        "number",
    )

    def __init__(self, connection: ServerConnection, buffer_bytes: int, traffic: Traffic) -> None:
        self.connection = connection
        self.number = next(_numbers)
        self._pair = (connection,)
        self._is_cut_off = False
        self.bytes_out = 0
        self._buffer_bytes = buffer_bytes
        self._traffic = traffic

    @property
    def queued_bytes(self) -> int:
        """Bytes that the client has not taken off the server's hands yet."""
        transport: Any = self.connection.transport
        return int(transport.get_write_buffer_size())

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self.connection.state is State.OPEN and not self._is_cut_off

    def push(self, message: bytes) -> bool:
        """Queue one text message (UTF-8); ``False`` when the client is gone or was cut off."""
        if not self.is_open:
            return False
        if self.queued_bytes > self._buffer_bytes:
            self._traffic.slow_clients += 1
            self.abort()
            return False
        broadcast(self._pair, message, text=True)
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(message)
        self.bytes_out += len(message)
        return True

    async def send(self, message: bytes) -> None:
        """Send one text message and wait while the client's queue is full (back-pressure).

        Raises :class:`websockets.exceptions.ConnectionClosed`.
        """
        await self.connection.send(message, text=True)
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(message)

    async def wait_until_read(self) -> None:
        """Wait until the client's WebSocket layer has read everything sent so far.

        Asked with a ping: the pong comes after whatever was sent before. Raises
        :class:`websockets.exceptions.ConnectionClosed`.
        """
        await (await self.connection.ping())

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a close frame."""
        await self.connection.close(code, reason)

    def abort(self) -> None:
        """Drop the TCP connection without a close frame."""
        self._is_cut_off = True
        self.connection.transport.abort()
