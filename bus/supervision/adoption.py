"""Orphans: descendants whose own parent died come to the supervisor, which ends and reaps them.

As a child subreaper the supervisor is the parent of every descendant that lost its own. None of
mdbus's processes leaves one behind on purpose, so each is killed: a helper that moved itself into
a session of its own would survive the killing of its group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Container
from pathlib import Path

from bus.runtime.guard import children_of
from bus.runtime.log import get_logger

_log = get_logger("supervision.adoption")
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Adopt orphaned descendants from now on; False where the system cannot (not Linux)."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def end_strangers(own: Container[int]) -> dict[int, str]:
    """Kill and reap every child of this process that is not in ``own``; pid and name of those that
    still lived.

    One that is still dying is reaped by the next call: its death raises SIGCHLD.
    """
    if os.getpid() == 1:
        _reap_unseen(own)
    adopted = [pid for pid in children_of(os.getpid()) if pid not in own]
    strangers = {pid: _name(pid) for pid in adopted if not _was_dead(pid)}
    for pid in strangers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return strangers


class Strangers:
    """As `end_strangers`, and tells of each that was killed, once: it may take a while to die."""

    def __init__(self) -> None:
        self._dying: set[int] = set()

    def end(self, own: Container[int]) -> None:
        """Kill and reap every child of this process that is not in ``own``."""
        strangers = end_strangers(own)
        for pid in strangers.keys() - self._dying:
            _log.warning("ended a process whose parent died", pid=pid, name=strangers[pid])
        self._dying = set(strangers)


def _name(pid: int) -> str:
    """What its program is called, as far as the kernel knows; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _was_dead(pid: int) -> bool:
    """Reap a child if it has ended; whether it had."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return True


def _reap_unseen(own: Container[int]) -> None:
    """Reap the dead among the adopted without a list of them: the first process of a pid
    namespace may have no ``/proc`` of its own. Our own dead are left to those who watch them.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None or dead.si_pid in own:
                return
            os.waitpid(dead.si_pid, os.WNOHANG)
