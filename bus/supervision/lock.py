"""Who holds a run directory. Standard library only: every command line query asks this first."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import StrPath


def running_pid(path: StrPath) -> int | None:
    """The pid of the supervisor that holds ``path``, or None when nobody does."""
    try:
        fd = os.open(os.path.join(path, "supervisor.pid"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(fd, 32).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)
    return None


def wait_unlocked(path: StrPath, timeout_s: float) -> bool:
    """Wait until no supervisor holds ``path``; False when it still does at the end."""
    deadline = time.monotonic() + timeout_s
    while running_pid(path) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
