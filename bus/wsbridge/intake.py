"""What one client has sent and the protocol has not seen yet: given on in slices.

Pure. Two reasons for slices. The protocol library takes microseconds for each frame, and a frame
may be six bytes: what the loop reads at once (libuv: up to 8 MB) would keep every other client
waiting for seconds. And the library parses what follows the HTTP request before the request has
been answered, so frames sent too early would be answered before the handshake: a slice never goes
beyond the end of the request.

Bounded by its owner, who stops reading while something waits here.
"""

from __future__ import annotations

from typing import Final

SLICE_BYTES: Final = 4_096
"""At most 680 frames: a few milliseconds."""

_END_OF_HEAD: Final = b"\r\n\r\n"


class Intake:
    """Bytes in, slices out, in order. True while something waits."""

    __slots__ = ("_before", "_in_head", "_waiting")

    def __init__(self) -> None:
        self._waiting = b""
        self._in_head = True
        self._before = b""  # the last bytes of the request so far, which its end may begin with

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, data: bytes) -> None:
        """Take what was received."""
        self._waiting = self._waiting + data if self._waiting else data

    def next_slice(self) -> bytes:
        """The next bytes for the protocol; empty when nothing waits."""
        taken = self._waiting[:SLICE_BYTES]
        if self._in_head:
            seen = self._before + taken
            end = seen.find(_END_OF_HEAD)
            if end >= 0:
                self._in_head = False
                taken = taken[: end + len(_END_OF_HEAD) - len(self._before)]
            self._before = seen[-len(_END_OF_HEAD) + 1 :]
        self._waiting = self._waiting[len(taken) :]
        return taken

    def clear(self) -> None:
        """Forget what waits: the connection is lost."""
        self._waiting = b""
