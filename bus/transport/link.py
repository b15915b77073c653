"""The link between the supervisor and one process: a pair of sockets that keep messages apart.

The process inherits its end, so nobody else can speak on it, and the supervisor knows a process by
its end. Both are bounded and never block: a message that does not fit is dropped and the caller is
told.
"""

from __future__ import annotations

import socket

from bus.errors import BusError
from bus.wire.link import MAX_MESSAGE_BYTES


class LinkClosedError(BusError):
    """The other end is closed, and all that it had sent was read."""


class LinkEnd:
    """One end. Every call returns at once."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel

    @classmethod
    def of_descriptor(cls, fd: int) -> LinkEnd:
        """The end that a process was given; it owns ``fd`` from now on, and no child of this
        process inherits it. Raises `OSError` when ``fd`` is no open socket.
        """
        channel = socket.socket(fileno=fd)
        channel.set_inheritable(False)
        return cls(channel)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._channel.fileno() < 0

    def fileno(self) -> int:
        """The descriptor: readable when `receive` has something to say; -1 when closed."""
        return self._channel.fileno()

    def send(self, frame: bytes) -> bool:
        """Send one message; False when it does not fit, or nobody is there to read it."""
        try:
            self._channel.send(frame, socket.MSG_NOSIGNAL)
        except OSError:  # EAGAIN: full; EPIPE, ECONNRESET: gone; EMSGSIZE, EBADF
            return False
        return True

    def receive(self) -> bytes | None:
        """The next message, or None when there is none yet; raises `LinkClosedError`."""
        try:
            frame = self._receive()
        except BlockingIOError:
            return None
        except OSError as error:
            raise LinkClosedError(f"the link is broken: {error}") from error
        if not frame:
            raise LinkClosedError("the other end of the link is closed")
        return frame

    def _receive(self) -> bytes:
        size = MAX_MESSAGE_BYTES + 1  # a longer message is cut, and refused for it
        try:
            return self._channel.recv(size)
        except ConnectionResetError:  # said once when the other end had not read everything, and
            return self._channel.recv(size)  # before its last words

    def close(self) -> None:
        """Close this end; may be repeated."""
        self._channel.close()

    def leave(self) -> int:
        """The descriptor, which is the caller's from now on."""
        return self._channel.detach()


def link_pair() -> tuple[LinkEnd, LinkEnd]:
    """Both ends of a fresh link; raises `OSError` when there is no descriptor left for them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return LinkEnd(ours), LinkEnd(theirs)
