"""The supervisor's end of the template: has it run, has it fork, notices that its code is old.

A fork costs some milliseconds where a new interpreter takes hundreds to import the same code, and
what was imported is in memory once for all processes. What the template is asked for it does at
once or not at all, so the supervisor waits for it, as it does for a program it starts itself; a
template that does not answer is ended, and another is started when all is calm.
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

from bus.runtime.log import get_logger
from bus.runtime.template_words import (
    CHECK,
    CURRENT,
    FORK,
    FORK_SPARE,
    IMPORTED,
    MAX_WORD_BYTES,
)
from bus.supervision.spawn import Child, import_path

RETRY_FIRST_S: Final = 2.0
RETRY_CAP_S: Final = 60.0
ANSWER_WAIT_S: Final = 1.0
"""How long the supervisor waits for a template: a thousand times what it takes."""
IMPORT_WAIT_S: Final = 60.0
"""A template that has not imported its code by then never will."""

_log = get_logger("supervision.template")


class Forked:
    """A process made by the template, a child of this one, and this end of its socket pair."""

    def __init__(self, child: Child, channel: socket.socket) -> None:
        self.child = child
        self.channel = channel


class Template:
    """At most one template. ``config`` is the settings file it reads, ``log_path`` where it
    complains.

    ``noted(pid)`` and ``forgotten(pid)`` are told of its life, to be found by a later supervisor
    if this one is killed.
    """

    def __init__(
        self,
        config: Path,
        log_path: Path,
        *,
        noted: Callable[[int], None],
        forgotten: Callable[[int], None],
    ) -> None:
        self._config = config
        self._log_path = log_path
        self._noted = noted
        self._forgotten = forgotten
        self._modules: tuple[str, ...] = ()
        self._child: Child | None = None
        self._leaving: set[int] = set()
        self._channel: socket.socket | None = None
        self._settled = asyncio.Event()
        self._failures = 0
        self._not_before = 0.0
        self._import_end = 0.0
        self.ready = False
        """Whether it has imported its code and can fork."""
        self.forks = 0

    @property
    def pid(self) -> int | None:
        """Its process; None when there is none."""
        return None if self._child is None else self._child.pid

    def pids(self) -> set[int]:
        """Its process, and those of earlier ones that have not quite ended yet."""
        return self._leaving if self._child is None else {self._child.pid, *self._leaving}

    def keep(self, modules: Sequence[str], lifeline_fd: int) -> None:
        """Have a template of ``modules``: start one that is missing, replace one of others.

        One that ended by itself is not started again before some time has passed.
        """
        now_s = asyncio.get_running_loop().time()
        if self._child is not None and self._modules != tuple(modules):
            self.end()
        if self._child is not None and not self.ready and now_s > self._import_end:
            self._give_up(f"not ready after {IMPORT_WAIT_S:g} s")
        if self._child is not None or now_s < self._not_before:
            return
        self._import_end = now_s + IMPORT_WAIT_S
        self._modules = tuple(modules)
        self._settled.clear()
        try:
            self._start(lifeline_fd)
        except OSError as error:
            self._failed(f"cannot start: {error}")

    async def wait(self, timeout_s: float) -> bool:
        """Wait until it is ready or has failed, at most ``timeout_s``; whether it is ready."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()
        return self.ready

    def is_current(self) -> bool:
        """Whether the files that it imported are still the same; False when it does not say."""
        return self._ask(CHECK) == CURRENT

    def fork(self, *, is_spare: bool = False) -> Forked | None:
        """A fresh process that waits for its role; None when there is no template that can.

        One that will wait for some time uses it to take its memory to itself.
        """
        if not self.ready or self._channel is None:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                socket.send_fds(
                    self._channel, [FORK_SPARE if is_spare else FORK], [theirs.fileno()]
                )
            ours.settimeout(ANSWER_WAIT_S)
            pid = int(_line(ours))
            child = Child(pid, _nothing)
        except (OSError, ValueError) as error:
            ours.close()  # a process that comes late finds it so, and ends
            self._give_up(f"did not fork: {error}")
            return None
        ours.setblocking(False)
        self.forks += 1
        return Forked(child, ours)

    def end(self) -> None:
        """End it; nobody need wait for it."""
        child, self._child = self._child, None
        self.ready = False
        self._settled.set()
        self._close_channel()
        if child is not None:
            self._leaving.add(child.pid)
            self._forgotten(child.pid)
            child.send(signal.SIGKILL)

    def _start(self, lifeline_fd: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, self._log_path.open("ab", buffering=0) as log:
                popen = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-m", "bus.runtime.template"),
                        *(str(theirs.fileno()), str(self._config), *self._modules),
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
        ours.settimeout(ANSWER_WAIT_S)
        self._channel = ours
        self._child = Child(popen.pid, lambda code: self._died(popen.pid, code), popen=popen)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._said)
        self._noted(popen.pid)

    def _said(self) -> None:
        """It has imported its code, or is on its way out: its exit then says the rest."""
        assert self._channel is not None
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        with contextlib.suppress(OSError):
            if self._channel.recv(MAX_WORD_BYTES) == IMPORTED:
                self.ready = True
                self._failures = 0
                self._settled.set()

    def _ask(self, word: bytes) -> bytes:
        if not self.ready or self._channel is None:
            return b""
        try:
            self._channel.sendall(word)
            return self._channel.recv(MAX_WORD_BYTES)
        except OSError as error:
            self._give_up(f"does not answer: {error}")
            return b""

    def _give_up(self, why: str) -> None:
        self.end()
        self._failed(why)

    def _died(self, pid: int, exit_code: int) -> None:
        if pid in self._leaving:
            self._leaving.discard(pid)
            return
        self._child = None
        self.ready = False
        self._forgotten(pid)
        self._close_channel()
        self._failed(f"ended with {exit_code}")

    def _failed(self, why: str) -> None:
        self._failures += 1
        wait_s = min(RETRY_CAP_S, RETRY_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        self._not_before = asyncio.get_running_loop().time() + wait_s
        self._settled.set()
        _log.warning("no template: processes import their code", reason=why, retry_s=wait_s)

    def _close_channel(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None


def _line(channel: socket.socket) -> bytes:
    """A line of at most `MAX_WORD_BYTES`; raises `OSError` when none comes."""
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_WORD_BYTES:
        part = channel.recv(MAX_WORD_BYTES)
        if not part:
            raise ConnectionError("it ended")
        line += part
    return line


def _nothing(_: int) -> None:
    return


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    return {**base, **import_path(base)}
