"""What happens to a socket's connections: established, lost, refused."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Final

import zmq

from bus.transport.sockets import ZmqSocket


class Connection(Enum):
    """One thing that happened to a connection."""

    UP = "up"
    """The handshake succeeded: from here on messages flow."""
    DOWN = "down"
    """The connection ended; ZeroMQ tries again by itself."""
    REFUSED = "refused"
    """The handshake failed (protocol or authentication)."""


_KINDS: Final = {
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): Connection.UP,
    int(zmq.EVENT_DISCONNECTED): Connection.DOWN,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): Connection.REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): Connection.REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): Connection.REFUSED,
}
_WATCHED: Final = sum(_KINDS)  # the events are single bits


class SocketMonitor:
    """Watches one socket; poll :attr:`socket` for reading, then call :meth:`receive`.

    Events come from an I/O thread: a message of a new connection may be received before the event
    that announces the connection. Not thread-safe; close it before the watched socket.
    """

    def __init__(self, watched: ZmqSocket) -> None:
        self._watched = watched
        self.socket: Final[ZmqSocket] = watched.get_monitor_socket(_WATCHED)
        self.socket.setsockopt(zmq.LINGER, 0)

    def receive(self) -> list[Connection]:
        """Everything that happened since the last call, in order; never blocks."""
        happened: list[Connection] = []
        while True:
            try:
                message = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return happened
            event = int.from_bytes(message[0][:2], sys.byteorder)  # zmq_socket_monitor(3)
            kind = _KINDS.get(event)
            if kind is not None:
                happened.append(kind)

    def close(self) -> None:
        """Stop watching."""
        self._watched.disable_monitor()
        self.socket.close()  # pyzmq only lets go of it, and a term() would wait for it for ever
