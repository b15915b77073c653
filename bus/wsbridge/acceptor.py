"""Accepting connections many at a time, so that a crowd that returns at once finds room.

Shell. uvloop's own server accepts one connection a turn of the loop; while a turn carries a batch
to a thousand clients the queue of the listening socket overflows, and the kernels of those who did
not fit try again after 1, 3, 7, … seconds. Here a turn accepts up to ``ACCEPTS_PER_TURN``: bounded,
because each of them is a handshake in the next turn, for which everybody else waits.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from bus.runtime import get_logger

ACCEPTS_PER_TURN: Final = 32
BACKLOG: Final = 4_096
"""Connections that the kernel keeps for us; it allows as many as ``net.core.somaxconn``."""
PAUSE_S: Final = 1.0
"""How long nobody is accepted after the process has run out of descriptors or memory."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = get_logger("wsbridge.acceptor")


class Acceptor:
    """Owns a listening socket. ``new_protocol`` is called once for each accepted connection."""

    def __init__(self, sock: socket.socket, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._sock = sock
        self._new_protocol = new_protocol
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.pauses = 0
        """How often accepting was stopped for want of descriptors or memory."""

    def start(self) -> None:
        """Listen; to be called on the loop. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock.fileno(), self._accept)

    @property
    def has_pending(self) -> bool:
        """Whether a connection is accepted whose protocol has not been told so yet."""
        return bool(self._tasks)

    def close(self) -> None:
        """Accept nobody any more; who was accepted already still gets his protocol. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    async def settled(self) -> None:
        """Wait until every accepted connection has its protocol, or is lost: a turn or two."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self) -> None:
        loop = self._loop
        assert loop is not None, "only a listening socket becomes readable"
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # the other end was gone before its turn came
            accepted.setblocking(False)
            task = loop.create_task(self._connect(loop, accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(self._new_protocol, accepted)
        except OSError as error:
            accepted.close()
            _log.debug("an accepted connection was lost", error=str(error))

    def _pause(self, error: OSError) -> None:
        """The queue of the kernel keeps who comes meanwhile; to ask again at once would spin."""
        assert self._loop is not None, "accepting begins with start"
        self.pauses += 1
        _log.error("cannot accept", reason=error.strerror, again_in_s=PAUSE_S, so_far=self.pauses)
        self._loop.remove_reader(self._sock.fileno())
        self._timer = self._loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        if self._loop is not None and not self._is_closed:
            self._loop.add_reader(self._sock.fileno(), self._accept)
