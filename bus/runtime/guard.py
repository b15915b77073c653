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
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bus.runtime.environment import Spawned

_PR_SET_PDEATHSIG = 1


def arm_stack_dump() -> None:
    """SIGABRT writes every thread's stack to standard error and ends the process.

    The supervisor sends it to a process that stopped beating: the log then says where it hung.
    """
    faulthandler.enable(all_threads=True)


def dump_stacks() -> None:
    """Write every thread's stack to standard error now."""
    faulthandler.dump_traceback(all_threads=True)


def bind_to_parent(spawned: Spawned) -> bool:
    """Ask the kernel to tell us of the supervisor's death; False if it is dead already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    return os.getppid() == spawned.parent_pid


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

    For a process that leaves: with its supervisor gone, nobody else would do it.
    """
    below = children_of(os.getpid())
    while below:
        pid = below.pop()
        below += children_of(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """The direct children of ``pid``, adopted ones included; none when it is gone."""
    pids: list[int] = []
    with contextlib.suppress(OSError):  # the process has ended, or this is not Linux
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += [int(child) for child in (task / "children").read_text().split()]
    return pids
