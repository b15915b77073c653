"""What a forked process is listed as: the command that would have started it.

A fork has the command line of what forked it, and so would be told from none of the others by
``ps`` or ``pgrep -f``. The kernel shows the memory where the arguments were put when the program
began, and that may be written to.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_ARG_START: Final = 48 - 3  # of the fields behind the name in parentheses (man 5 proc_pid_stat)
_ARG_END: Final = 49 - 3


def show_as(module: str, arguments: Sequence[str]) -> bool:
    """List this process as ``python -P -m module arguments``.

    False, with nothing changed, where there is not enough room for it, or no ``/proc`` to tell.
    """
    words = [sys.orig_argv[0], "-P", "-m", module, *arguments]
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    except (OSError, IndexError, ValueError):
        return False
    if not start or end - start < len(text):
        return False
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
    return True
