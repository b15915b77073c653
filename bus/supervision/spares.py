"""Processes made by the template: some that wait to become any other, or one that is made at once.

A process that waits already makes the restart of a crashed one as short as reading its settings and
opening its sockets; making it takes some milliseconds more. Any of them fits every role. The pool
is refilled while nothing else starts.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bus.runtime.environment import LINK_KEY, LISTEN_KEY, PULSE_KEY, Spawned
from bus.runtime.log import get_logger
from bus.runtime.spare import Role
from bus.supervision.spawn import Child
from bus.supervision.template import Forked, Template

RENEWAL_WAIT_S: Final = 10.0
"""How long an operator's restart waits for new code to be imported; without, it imports itself."""

_log = get_logger("supervision.spares")


class Spares:
    """The pool, and the template it comes from. ``config`` is the settings file of all processes,
    ``log_path`` where those without a role complain.

    ``noted(pid)`` and ``forgotten(pid)`` are told of the life of each process that has no role, to
    be found by a later supervisor if this one is killed.
    """

    def __init__(
        self,
        config: Path,
        log_path: Path,
        *,
        noted: Callable[[int], None],
        forgotten: Callable[[int], None],
    ) -> None:
        self.template: Final = Template(config, log_path, noted=noted, forgotten=forgotten)
        self._noted = noted
        self._forgotten = forgotten
        self._waiting: list[Forked] = []
        self._leaving: set[int] = set()
        self._modules: tuple[str, ...] = ()
        self._wanted = 0
        self.taken = 0

    @property
    def is_short(self) -> bool:
        """Whether `keep` has not made all yet that it was asked for, or something has ended."""
        return bool(self._modules) and (
            len(self._waiting) < self._wanted or not self.template.ready
        )

    @property
    def ready(self) -> int:
        """How many could take a role now."""
        return len(self._waiting)

    def pids(self) -> set[int]:
        """The processes without a role, the template included, until they have ended."""
        waiting = {spare.child.pid for spare in self._waiting}
        return waiting | self._leaving | self.template.pids()

    def keep(self, modules: Sequence[str], wanted: int, lifeline_fd: int) -> None:
        """Have a template that has imported ``modules``, and ``wanted`` spares of it.

        Call it every so often, while nothing else starts. One spare a time is made.
        """
        if self._modules != tuple(modules):
            self._end_spares()
            self._modules = tuple(modules)
        self._wanted = wanted
        self.template.keep(modules, lifeline_fd)
        while len(self._waiting) > wanted:
            self._end(self._waiting.pop())
        if len(self._waiting) < wanted and (spare := self._fork(is_spare=True)) is not None:
            spare.child.on_exit = lambda code: self._died(spare, code)
            self._waiting.append(spare)

    def take(
        self,
        module: str,
        arguments: Sequence[str],
        log_path: Path,
        spawned: Spawned,
        on_exit: Callable[[int], None],
    ) -> Child | None:
        """A spare as the process described, or a process made for it now; None when there is
        neither a spare nor a template.
        """
        passed = {LINK_KEY: spawned.link_fd, PULSE_KEY: spawned.pulse_fd}
        if spawned.listen_fd is not None:
            passed[LISTEN_KEY] = spawned.listen_fd
        role = Role(
            module, tuple(arguments), str(log_path), spawned.to_environment(), tuple(passed)
        )
        while self._waiting:
            spare = self._waiting.pop(0)
            if self._play(spare, role, [*passed.values()], on_exit):
                self.taken += 1
                return spare.child
        fresh = self._fork(is_spare=False)
        if fresh is not None and self._play(fresh, role, [*passed.values()], on_exit):
            return fresh.child
        return None

    async def renew(self, lifeline_fd: int) -> None:
        """Have what is taken from now on run the code that is installed now: where that is not
        what the template has imported, end it with all spares, and wait until another has.
        """
        if self.template.pid is not None and await self.template.wait(RENEWAL_WAIT_S):
            if self.template.is_current():
                return
            _log.info("the code has changed: importing it anew")
            self.template.end()
            self.template.keep(self._modules, lifeline_fd)
            await self.template.wait(RENEWAL_WAIT_S)
        self._end_spares()

    def close(self) -> None:
        """End them all; nobody need wait for it."""
        self._modules = ()
        self._end_spares()
        self.template.end()

    def _end_spares(self) -> None:
        while self._waiting:
            self._end(self._waiting.pop())

    def _end(self, spare: Forked) -> None:
        pid = spare.child.pid
        self._leaving.add(pid)
        spare.child.on_exit = lambda _: self._leaving.discard(pid)
        self._forgotten(pid)
        spare.channel.close()
        spare.child.kill_group()

    def _died(self, spare: Forked, exit_code: int) -> None:
        self._forgotten(spare.child.pid)
        self._waiting.remove(spare)
        spare.channel.close()
        _log.warning("a spare ended", pid=spare.child.pid, exit_code=exit_code)

    def _play(
        self,
        spare: Forked,
        role: Role,
        descriptors: Sequence[int],
        on_exit: Callable[[int], None],
    ) -> bool:
        """Give it its role; False when it could not be told, and is ended."""
        try:
            socket.send_fds(spare.channel, [role.to_line()], descriptors)
        except OSError as error:
            _log.warning("a spare did not take its role", pid=spare.child.pid, error=error)
            self._end(spare)
            return False
        spare.channel.close()
        spare.child.on_exit = on_exit
        self._forgotten(spare.child.pid)
        return True

    def _fork(self, *, is_spare: bool) -> Forked | None:
        forked = self.template.fork(is_spare=is_spare)
        if forked is not None:
            self._noted(forked.child.pid)
        return forked
