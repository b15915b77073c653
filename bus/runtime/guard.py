"""A process must not outlive its supervisor, however that one died.

Three nets, because each has a hole. ``PR_SET_PDEATHSIG`` sends SIGTERM at once, but only on
Linux and only from the moment it is set. The ``getppid`` check covers a supervisor that died
before that. The lifeline pipe reads end-of-file on any system; it is read by a thread, so that a
process whose own loop is stuck still ends, by force, when its drain time is over.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bus.runtime.environment import Spawned

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MAX_NAME_BYTES = 15
_ROUNDS = 50
_OOM_SCORE = 100


DUMP_SIGNAL: Final = signal.SIGUSR2
"""Writes every thread's stack to standard error, also while the loop is stuck; nothing else."""


def arm_stack_dump() -> None:
    """SIGABRT writes every thread's stack to standard error and ends the process.

    The supervisor sends it to a process that stopped beating: the log then says where it hung.
    `DUMP_SIGNAL` only writes them.
    """
    faulthandler.enable(all_threads=True)
    faulthandler.register(DUMP_SIGNAL, all_threads=True)


def bind_to_parent(spawned: Spawned) -> bool:
    """Ask the kernel to tell us of the supervisor's death; False if it is dead already."""
    die_with_parent(signal.SIGTERM)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a child for want of memory, not who would replace it
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    return os.getppid() == spawned.parent_pid


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send ``number`` to this process when its parent ends. Look at the parent
    after it: it may have ended before.
    """
    _prctl(_PR_SET_PDEATHSIG, int(number))


def set_process_name(name: str) -> None:
    """Show this process as ``name`` in lists of processes; the first 15 bytes count."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:_MAX_NAME_BYTES]))


def _prctl(option: int, value: object) -> None:
    if sys.platform == "linux":
        _libc().prctl(option, value, 0, 0, 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def watch_lifeline(spawned: Spawned, on_lost: Callable[[], None]) -> None:
    """Call ``on_lost`` (from a thread) when the supervisor is gone; then force the end.

    The process has ``spawned.drain_s`` seconds to leave by itself; then it and its descendants
    are killed.
    """
    os.set_inheritable(spawned.lifeline_fd, False)
    overdue = threading.Event()

    def wait() -> None:
        try:
            while os.read(spawned.lifeline_fd, 64):
                continue
        except OSError:  # the descriptor was closed: the process is on its way out
            return
        on_lost()
        overdue.wait(spawned.drain_s)
        end_descendants()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def end_descendants() -> None:
    """Kill every process below this one, deepest generations included.

    For a process that leaves: with its supervisor gone, nobody else would do it. A list of
    children is no snapshot (they fork and end while it is read, and the kernel then leaves some
    out), so each is stopped before its own children are asked for, and all is done again until
    nobody is found alive.
    """
    for _ in range(_ROUNDS):
        below = [pid for pid in children_of(os.getpid()) if not _is_dead(pid)]
        if not below:
            return
        while below:
            pid = below.pop()
            _send(pid, signal.SIGSTOP)
            below += children_of(pid)
            _send(pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _is_dead(pid: int) -> bool:
    """Whether it has ended, reaped or not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def children_of(pid: int) -> list[int]:
    """The direct children of ``pid``, adopted ones included; none when it is gone."""
    if not proc_is_ours():
        return []
    pids: list[int] = []
    with contextlib.suppress(OSError):  # the process has ended, or this is not Linux
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # this thread has; its children went to another
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def proc_is_ours() -> bool:
    """Whether ``/proc`` speaks of this process's own pid namespace: in a new one it may still be
    that of the old, whose pids mean other processes.
    """
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False
