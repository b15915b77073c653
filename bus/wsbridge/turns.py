"""The bridge's turns: small jobs 20 times a second, and how late the loop comes to them.

Shell. One job at a time, and between two of them a turn of the event loop for everybody else; a job
that has much to do does some of it and says so, and is done again. Each job is guarded: what one of
them finds broken is logged and counted and stops neither the others nor the next turn, and one
connection's fault costs that connection and nobody else. The lag of the loop is measured here, by
how late a turn comes: a helper thread would not notice a loop that is stuck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bus.wsbridge.faults import Faults

TURN_S: Final = 0.05


class Job(NamedTuple):
    """Something to do every so many turns; true while more of it is to be done soon."""

    do: Callable[[], bool | None]
    every: int = 1


class Turns:
    """See the module. One for each server, on its event loop."""

    def __init__(self, jobs: Sequence[Job], faults: Faults) -> None:
        self._jobs = tuple(jobs)
        self._todo: dict[Job, None] = {}
        self._count = 0
        self._due_s = 0.0
        self._worst_lag_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._faults = faults

    def start(self) -> None:
        """Begin; to be called on the loop."""
        self._loop = asyncio.get_running_loop()
        self._arm(self._loop)

    def close(self) -> None:
        """No more turns."""
        self._loop = None
        self._todo.clear()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def worst_lag_s(self) -> float:
        """How late the loop was at worst since :meth:`take_worst_lag_s`."""
        return self._worst_lag_s

    def take_worst_lag_s(self) -> float:
        """The same, beginning anew."""
        worst, self._worst_lag_s = self._worst_lag_s, 0.0
        return worst

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + TURN_S
        self._timer = loop.call_at(self._due_s, self._turn)

    def _turn(self) -> None:
        assert self._loop is not None, "turns begin with start"
        self._worst_lag_s = max(self._worst_lag_s, self._loop.time() - self._due_s)
        self._arm(self._loop)
        self._count += 1
        was_busy = bool(self._todo)
        self._todo |= {job: None for job in self._jobs if self._count % job.every == 0}
        if not was_busy:
            self._do_next()

    def _do_next(self) -> None:
        if not self._todo:
            return
        job = next(iter(self._todo))
        del self._todo[job]
        try:
            if job.do():
                self._todo[job] = None
        except Exception as error:  # noqa: BLE001  (the boundary between jobs)
            self._faults.note("a turn's job failed", error)
        if self._todo and self._loop is not None:
            self._loop.call_soon(self._do_next)
