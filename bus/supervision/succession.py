"""When a supervisor may be replaced in place: at a moment when nothing goes on.

A process that starts or ends is waited for, and so is whatever an operator has asked for and not
been answered yet: a restart of all bridges must not end after the first of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bus.supervision.handover import hold_signals, release_signals

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

_TRY_S: Final = 0.1
_TURNS: Final = 3
"""So many turns of the loop after a signal has come its handler has run."""


class Succession:
    """The way of one supervisor to the program that takes its place."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._acts = 0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def act(self) -> Iterator[None]:
        """While the block runs nobody takes the supervisor's place."""
        self._acts += 1
        try:
            yield
        finally:
            self._acts -= 1

    def forbid(self) -> None:
        """From now on nobody takes the supervisor's place: it is about to end."""
        self._acts += 1

    def begin(self, timeout_s: float) -> None:
        """Have the supervisor leave as soon as nothing goes on; within ``timeout_s``, or not."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._leave(timeout_s))

    async def _leave(self, timeout_s: float) -> None:
        loop, supervisor = asyncio.get_running_loop(), self._supervisor
        end = loop.time() + timeout_s
        while supervisor.state == "running":
            if self._is_free() and await self._leave_now():
                return
            if loop.time() > end:
                why = "always a process starting or ending, or a command under way"
                supervisor.say("note", f"not replaced within {timeout_s:g} s: there was {why}")
                return
            await asyncio.sleep(_TRY_S)

    async def _leave_now(self) -> bool:
        """Leave, unless a signal that had come before says otherwise; whether it did. Later ones
        are for who comes next.
        """
        hold_signals()
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._is_free():
                self._supervisor.leave()
                return True
        finally:
            if not self._supervisor.is_replaced:
                release_signals()
        return False

    def _is_free(self) -> bool:
        units = self._supervisor.units.values()
        is_running = self._supervisor.state == "running"
        return is_running and not self._acts and all(unit.is_steady for unit in units)
