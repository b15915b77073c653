"""Memory a forked process shares with its parent until it writes there.

The kernel copies a shared page when it is first written to, and finds a mapped one when it is first
read: some microseconds each, thousands of times in the start of a process. A process that waits has
the time to have it all done before.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MADV_POPULATE_READ: Final = 22
_MADV_POPULATE_WRITE: Final = 23


def own_pages() -> int:
    """Have every page of this process's private memory for its own, and all others mapped; the
    bytes that are then its own.

    0, and no harm done, where the system cannot (before Linux 5.14, or not Linux).
    """
    if sys.platform != "linux":
        return 0
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    own_bytes = 0
    for start, end, is_writable in _mappings():
        advice = _MADV_POPULATE_WRITE if is_writable else _MADV_POPULATE_READ
        if madvise(start, end - start, advice) == 0 and is_writable:
            own_bytes += end - start
    return own_bytes


def _mappings() -> Iterator[tuple[int, int, bool]]:
    """Begin, end and whether it is private and writable, of all memory that can be read."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        is_kernels = len(words) > 5 and words[5].startswith("[v")  # vdso, vvar, vsyscall
        if words[1].startswith("r") and not is_kernels:
            start, end = (int(word, 16) for word in words[0].split("-"))
            yield start, end, words[1].startswith("rw") and words[1].endswith("p")
