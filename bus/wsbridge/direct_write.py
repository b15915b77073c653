"""Bytes straight to a socket whose transport holds none.

The one place where bytes pass by the event loop's transport, and why: a tick for a thousand clients
is a thousand writes, and uvloop's own way to the same ``write(2)`` costs a microsecond more than
the call, a seventh of a delivered message.

Three things make it right, all the caller's or asked here. *Order*: the caller does it only while
the transport holds nothing, which it knows because the transport's high-water mark is 0 (it reports
``pause_writing`` as soon as one byte stays behind, before its ``write`` returns); what the kernel
does not take goes to the transport, and everything after that too until it has drained. *The right
socket*: a transport closes its descriptor by itself when the other end is gone, and the number may
be another connection's at once; but it is ``is_closing()`` before it does, and nothing else runs
between that question and the write. *Errors*: a full socket and a dead one are not told apart here;
the transport is given the bytes and finds out which.
"""

from __future__ import annotations

import asyncio
import os

_write = os.write


def write_at_once(fd: int, transport: asyncio.Transport, blob: bytes) -> int:
    """How many bytes of ``blob`` the kernel took; the rest is for ``transport.write``.

    ``fd`` is the descriptor of the transport's own socket, non-blocking. Never raises OSError.
    """
    if transport.is_closing():
        return 0
    try:
        return _write(fd, blob)
    except OSError:
        return 0
