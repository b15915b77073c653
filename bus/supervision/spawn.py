"""Starting one operating-system process and knowing for certain when it is over.

A child is the leader of its own session and group, holds a pidfd here, and has its group killed
while the dead leader is still a zombie: its pid, and so the group's id, cannot be given to
anybody else before `Child.reap` is done.

Spawn from the main thread only: the kernel's parent-death signal follows the thread that forked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import site
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import bus
from bus.runtime.environment import Spawned

_ROOT: Final = Path(bus.__file__).resolve().parent.parent


class Child:
    """One running process, a child of this one. ``on_exit(exit_code)`` is called once, on the
    loop, when it is over.

    The exit code is as in :mod:`subprocess`: negative for the signal that ended it.
    """

    def __init__(
        self,
        pid: int,
        on_exit: Callable[[int], None],
        *,
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.pid: Final = pid
        self.on_exit = on_exit
        self._popen = popen
        self._pidfd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._exited)
        self.exit_code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Signal the leader alone; nothing happens when it is over."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """Ask the leader to drain; a stopped one is woken so that it can hear it."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)

    def kill_group(self) -> None:
        """End the whole group at once; harmless when it is over already."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Watch it no longer, without ending it: somebody else will."""
        if self.exit_code is None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self.kill_group()  # before the leader is reaped: see the module docstring
        _, status = os.waitpid(self.pid, 0)
        self.exit_code = os.waitstatus_to_exitcode(status)
        if self._popen is not None:
            self._popen.returncode = self.exit_code  # else it takes its process for running still
        os.close(self._pidfd)
        self.on_exit(self.exit_code)


def spawn(
    command: Sequence[str],
    *,
    spawned: Spawned,
    log_path: Path,
    on_exit: Callable[[int], None],
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start ``command`` with its output appended to ``log_path``.

    The child inherits its link, the lifeline and, if any, its listening socket, and nothing else.
    Raises `OSError` when the program or the log file cannot be opened.
    """
    pass_fds = [spawned.lifeline_fd, spawned.link_fd, spawned.pulse_fd]
    if spawned.listen_fd is not None:
        pass_fds.append(spawned.listen_fd)
    base = dict(os.environ if environment is None else environment)
    with log_path.open("ab", buffering=0) as log:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=base | import_path(base) | spawned.to_environment(),
            pass_fds=pass_fds,
            start_new_session=True,
        )
    return Child(popen.pid, on_exit, popen=popen)


def process_arguments(name: str, config: Path) -> list[str]:
    """The command line arguments of the process ``name``."""
    return ["--config", str(config), "--name", name]


def module_command(module: str, arguments: Sequence[str]) -> list[str]:
    """``python -m module`` by this interpreter; ``-P`` keeps a stray ``bus/`` in the current
    directory from being run instead.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Let a child import this very copy of the package, also when it is not installed."""
    if str(_ROOT) in {*site.getsitepackages(), site.getusersitepackages()}:
        return {}
    inherited = environment.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{_ROOT}{os.pathsep}{inherited}" if inherited else str(_ROOT)}


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; a real-time signal by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
