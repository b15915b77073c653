"""The next bytes for one client's socket, put together bit by bit. Pure.

Whole frames stand as they are; encoded messages become frames, those that come one after the other
one array where the wire has batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus.wsbridge.channels import Unit
from bus.wsbridge.frames import array_of
from bus.wsbridge.style import Wire

HELPING_BYTES: Final = 65_536
HELPING_MESSAGES: Final = 64


class Helping:
    """See the module. It is full at ``HELPING_BYTES`` or ``HELPING_MESSAGES``, whichever is first;
    what is added then still goes with it."""

    __slots__ = ("_count", "_frames", "_size", "_together", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._frames: list[bytes] = []
        self._together: list[bytes] = []
        self._size = 0
        self._count = 0

    @property
    def room(self) -> int:
        """How many messages still fit; 0 when it is full."""
        left = HELPING_MESSAGES - self._count
        return left if left > 0 and self._size < HELPING_BYTES else 0

    def add(self, payloads: Sequence[bytes]) -> None:
        """Encoded messages."""
        self._count += len(payloads)
        for payload in payloads:
            self._size += len(payload)
            self._together.append(payload)
            if not self._wire.batched:
                self._close()

    def add_units(self, units: Sequence[Unit]) -> int:
        """Units, as many as fit; how many."""
        taken = 0
        for unit in units:
            if not self.room:
                break
            taken += 1
            data = unit.data
            if unit.is_frame:
                if self._together:
                    self._close()
                self._frames.append(data)
                self._size += len(data)
                self._count += 1
            else:
                self.add((data,))
        return taken

    def blob(self) -> bytes:
        """All of it."""
        self._close()
        return b"".join(self._frames)

    def _close(self) -> None:
        if self._together:
            self._frames.append(batch_frame(self._together, self._wire))
            self._together = []


def batch_frame(payloads: Sequence[bytes], wire: Wire) -> bytes:
    """Encoded messages as one frame: an array, or the message itself where there is one."""
    if len(payloads) == 1:
        return wire.frame(payloads[0])
    return wire.frame(array_of(payloads, binary=wire.is_binary), always_deflate=True)
