"""The last heartbeat of a process, in memory that it shares with its supervisor.

Only the last one counts, so each takes the place of the one before. Neither side makes a system
call or wakes the other: that is most of what watching a healthy process would cost.

The memory is ``[time u64][crc32 of it u32][length u32][crc32 u32][frame]``, little-endian; the time
is that of the machine's monotonic clock in ns, greater with each heartbeat. There is no lock: what
is read while it is written fails its checksum, and is read once more or the next time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from binascii import crc32
from typing import Final

from bus.wire.link import MAX_MESSAGE_BYTES

_TIME: Final = struct.Struct("<QI")
_HEAD: Final = struct.Struct("<QIII")
_SIZE: Final = _HEAD.size + MAX_MESSAGE_BYTES  # pages that nobody writes to take no memory
_TRIES: Final = 3
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Pulse:
    """One process's heartbeats: one side writes, the other reads."""

    def __init__(self, fd: int) -> None:
        """Take over ``fd``, which no child inherits by itself; raises `OSError` or `ValueError`
        when it is no such memory.
        """
        os.set_inheritable(fd, False)
        self._memory = mmap.mmap(fd, _SIZE)
        self._fd = fd
        self._time = _TIME.pack(0, 0)
        self._head = bytes(_HEAD.size)

    @classmethod
    def make(cls) -> Pulse:
        """Fresh memory. Raises `OSError` when there is no descriptor left."""
        fd = os.memfd_create("mdbus-pulse", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _SIZE)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)  # else to read a shortened one would kill
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def fileno(self) -> int:
        """The descriptor by which another process finds it."""
        return self._fd

    def write(self, at_ns: int, frame: bytes) -> bool:
        """Have the heartbeat of ``at_ns`` be the last, and ``frame`` what it says; False for one
        that is too long.
        """
        if len(frame) > MAX_MESSAGE_BYTES:
            return False
        head = _HEAD.pack(at_ns, _check(at_ns), len(frame), crc32(frame))
        self._memory[_HEAD.size : _HEAD.size + len(frame)] = frame
        self._memory[: _HEAD.size] = head
        return True

    def feel(self) -> int | None:
        """The time of the last heartbeat, if there was another since this was asked last."""
        for _ in range(_TRIES):
            found = self._memory[: _TIME.size]
            if found == self._time:
                return None
            at_ns, check = _TIME.unpack(found)
            if check == _check(at_ns):
                self._time = found
                return int(at_ns)
        return None

    def read(self) -> bytes | None:
        """What the last heartbeat says, if there was another since this was asked last."""
        for _ in range(_TRIES):
            head = self._memory[: _HEAD.size]
            if head == self._head:
                return None
            _, _, length, check = _HEAD.unpack(head)
            frame = self._memory[_HEAD.size : _HEAD.size + length]
            if len(frame) == length and crc32(frame) == check:
                self._head = head
                return frame
        return None

    def close(self) -> None:
        """Use it no more; may be repeated."""
        if self._fd >= 0:
            os.close(self.leave())

    def leave(self) -> int:
        """The descriptor, which is the caller's from now on; this object is used no more."""
        fd, self._fd = self._fd, -1
        self._memory.close()
        return fd


def _check(at_ns: int) -> int:
    return crc32(at_ns.to_bytes(8, "little"))
