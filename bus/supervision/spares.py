"""Hot spares: processes that have imported everything and wait to become any other.

A spare makes the restart of a crashed process as short as reading its settings and opening its
sockets. Any spare fits every role. The pool is refilled while nothing else starts, so that a new
spare's imports do not compete with a restart; one that does not come up is tried again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bus.runtime import get_logger
from bus.runtime.environment import LISTEN_KEY, Spawned
from bus.runtime.spare import IMPORTED, Role
from bus.supervision.spawn import Child, import_path

RETRY_FIRST_S: Final = 2.0
RETRY_CAP_S: Final = 60.0

_log = get_logger("supervision.spares")


class _Spare:
    """One waiting process and this end of its socket pair."""

    def __init__(self, child: Child, channel: socket.socket) -> None:
        self.child = child
        self.channel = channel
        self.imported = False


class Spares:
    """The pool. ``modules`` are what a spare imports; ``log_path`` is where it complains.

    ``noted(pid)`` and ``forgotten(pid)`` are told of each spare's life, to be found by a later
    supervisor if this one is killed.
    """

    def __init__(
        self,
        log_path: Path,
        modules: Sequence[str],
        *,
        noted: Callable[[int], None],
        forgotten: Callable[[int], None],
    ) -> None:
        self.modules = tuple(modules)
        self._log_path = log_path
        self._noted = noted
        self._forgotten = forgotten
        self._waiting: list[_Spare] = []
        self._failures = 0
        self._not_before = 0.0
        self.taken = 0

    @property
    def ready(self) -> int:
        """How many could take a role now."""
        return sum(spare.imported for spare in self._waiting)

    def children(self) -> list[Child]:
        """The processes that wait or are still importing."""
        return [spare.child for spare in self._waiting]

    def keep(self, wanted: int, lifeline_fd: int) -> None:
        """Have ``wanted`` spares: start one that is missing, end those that are too many.

        Call it every so often, while nothing else starts.
        """
        while len(self._waiting) > wanted:
            self._end(self._waiting.pop())
        loop = asyncio.get_running_loop()
        if len(self._waiting) == wanted or loop.time() < self._not_before:
            return
        try:
            self._waiting.append(self._start(lifeline_fd))
        except OSError as error:
            self._failed(f"cannot start: {error}")

    def take(
        self,
        module: str,
        arguments: Sequence[str],
        log_path: Path,
        spawned: Spawned,
        listener: socket.socket | None,
        on_exit: Callable[[int], None],
    ) -> Child | None:
        """A spare as the process described; None when there is none ready."""
        spare = next((spare for spare in self._waiting if spare.imported), None)
        if spare is None:
            return None
        self._waiting.remove(spare)
        role = Role(
            module,
            tuple(arguments),
            str(log_path),
            spawned.to_environment(),
            listen_key=LISTEN_KEY if listener is not None else "",
        )
        fds = [] if listener is None else [listener.fileno()]
        asyncio.get_running_loop().remove_reader(spare.channel.fileno())
        try:
            socket.send_fds(spare.channel, [role.to_line()], fds)
        except OSError as error:
            _log.warning("a spare did not take its role", pid=spare.child.pid, error=error)
            self._end(spare)
            return None
        spare.channel.close()
        self._forgotten(spare.child.pid)
        spare.child.on_exit = on_exit
        self.taken += 1
        return spare.child

    def close(self) -> None:
        """End them all; nobody need wait for it."""
        for spare in self._waiting:
            spare.child.on_exit = _nothing
            self._end(spare)
            self._forgotten(spare.child.pid)
        self._waiting = []

    def _start(self, lifeline_fd: int) -> _Spare:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs, self._log_path.open("ab", buffering=0) as log:
                popen = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-m", "bus.runtime.spare"),
                        *(str(theirs.fileno()), *self.modules),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(os.environ),
                    pass_fds=[theirs.fileno(), lifeline_fd],
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        child = Child(popen.pid, lambda code: self._died(popen.pid, code), popen=popen)
        spare = _Spare(child, ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._said, spare)
        self._noted(child.pid)
        return spare

    def _said(self, spare: _Spare) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            said = spare.channel.recv(len(IMPORTED))
            if said == IMPORTED:
                spare.imported = True
                self._failures = 0
            if not said:  # on its way out: its exit says the rest
                asyncio.get_running_loop().remove_reader(spare.channel.fileno())

    def _died(self, pid: int, exit_code: int) -> None:
        self._forgotten(pid)
        for spare in [spare for spare in self._waiting if spare.child.pid == pid]:
            self._waiting.remove(spare)
            self._close_channel(spare)
            self._failed(f"ended with {exit_code}")

    def _failed(self, why: str) -> None:
        self._failures += 1
        wait_s = min(RETRY_CAP_S, RETRY_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        self._not_before = asyncio.get_running_loop().time() + wait_s
        _log.warning("no spare", reason=why, retry_s=wait_s)

    def _end(self, spare: _Spare) -> None:
        self._close_channel(spare)
        spare.child.send(signal.SIGKILL)

    @staticmethod
    def _close_channel(spare: _Spare) -> None:
        if spare.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(spare.channel.fileno())
            spare.channel.close()


def _nothing(_: int) -> None:
    return


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    return {**base, **import_path(base)}
