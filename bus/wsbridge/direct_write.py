"""Bytes straight to a socket whose transport holds none.

The one place where bytes pass by the event loop's transport, and why: a tick for a thousand clients
is a thousand writes, and a transport's own way to the same ``write(2)``, with what has to be asked
of each connection before, costs more than half of the call itself.

Three things make it right. *Order*: it is done only while the transport holds nothing, which the
caller knows because the transport's high-water mark is 0 (it reports ``pause_writing`` as soon as
one byte stays behind, before its ``write`` returns); what the kernel does not take goes to the
transport, and everything after that too until it has drained. *The right socket*: a transport
closes its descriptor by itself when the other end is gone, before anybody is told, and the number
may be another connection's, or a file's, at once. So the writer has a descriptor of its own for the
same socket, and closes it when the connection is lost; where open files are scarce it has none, and
the transport writes everything. *Errors*: a full socket and a dead one are
not told apart here; the transport is given the bytes and finds out which.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import repeat

_write = os.write


class Descriptors:
    """Descriptors of one's own for the sockets of transports; at most ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._left = most

    def own(self, transport: asyncio.Transport) -> int:
        """Another descriptor of its socket, to be given back; -1 when there is none to be had."""
        raw = transport.get_extra_info("socket")
        if raw is None or self._left <= 0:
            return -1
        try:
            fd = os.dup(raw.fileno())
        except OSError:  # closed, or too many open files
            return -1
        self._left -= 1
        return fd

    def close(self, fd: int) -> None:
        """Give one back."""
        os.close(fd)
        self._left += 1


def write_at_once(fd: int, blob: bytes) -> int:
    """How many bytes of ``blob`` the kernel took; the rest is for ``transport.write``.

    ``fd`` is a descriptor of one's own, non-blocking; with -1 nothing is taken. Never raises
    OSError.
    """
    if fd < 0:
        return 0
    try:
        return _write(fd, blob)
    except OSError:
        return 0


def write_to_all(fds: Sequence[int], blob: bytes) -> list[tuple[int, int]]:
    """``blob`` to each of ``fds``; those that did not take all of it, and how much they took.

    The loop is ``map``'s: between two writes the kernel leaves little of ours in the cache, and a
    loop of the interpreter costs more there than it seems to.
    """
    left = iter(fds)
    taken: list[int] = []
    while len(taken) < len(fds):
        try:
            taken.extend(map(_write, left, repeat(blob)))
        except OSError:  # of the descriptor after those that are in the list now
            taken.append(0)
    size = len(blob)
    if taken.count(size) == len(fds):
        return []
    return [(fd, some) for fd, some in zip(fds, taken, strict=True) if some != size]
