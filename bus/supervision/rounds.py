"""What the supervisor looks at once a second: heartbeats, figures, ceilings, logs, spares, itself.

With nothing else going on this is all that wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from bus.supervision.ceilings import Ceilings, Limits, fd_ceiling
from bus.supervision.fd_limit import raise_fd_limit
from bus.supervision.figures import Figures
from bus.supervision.log_files import LogKeeper
from bus.supervision.policy import Phase
from bus.supervision.unit import LATE_S, Unit

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

TICK_S: Final = 1.0
LOGS_EVERY_TICKS: Final = 2
SETTLED_S: Final = 1.0
"""A process this old no longer minds a spare being started."""


SLOT_PATIENCE_S: Final = 1.0
"""How long the listening socket of a process that does not run stays open for its successor."""


class Rounds:
    """One look after the other, from `begin` to `end`.

    ``reopen(unit, path)`` tells a process to log to another file, False when it cannot be told.
    """

    def __init__(self, supervisor: Supervisor, reopen: Callable[[Unit, str], bool]) -> None:
        self._supervisor = supervisor
        self._reopen = reopen
        self.figures: Final = Figures()
        self._ceilings: Final = Ceilings()
        self._logs: Final = LogKeeper(supervisor.premises.directory.log_dir, self._log_limits)
        self._allowed_fds = 0
        self._down_since: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0
        self._looks = 0

    def begin(self) -> None:
        """Look from now on; the limit of open files is raised first."""
        self._allowed_fds = raise_fd_limit()
        loop = asyncio.get_running_loop()
        self._at = loop.time()
        self._timer = loop.call_later(TICK_S, self._look)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def forget(self, name: str) -> None:
        """A process has ended."""
        self.figures.forget(name)
        self._ceilings.forget(name)

    def _look(self) -> None:
        """Notice when this process itself did not run (a paused machine), and all the rest.

        A timer and not a task: after a pause it is due before any deadline that ran out
        meanwhile, and must have moved them before their own timers are run.
        """
        supervisor = self._supervisor
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK_S, self._look)
        late_s = loop.time() - self._at - TICK_S
        self._at = loop.time()
        self._looks += 1
        units = list(supervisor.units.values())
        if late_s > LATE_S:
            supervisor.say("note", f"the supervisor did not run for {late_s:.1f} s")
            for unit in units:
                unit.paused()
        supervisor.hear()
        supervisor.rest()
        logs_are_due = self._looks % LOGS_EVERY_TICKS == 0
        for unit in units:
            if unit.child is not None:
                if self.figures.sample(unit.name, unit.child.pid):
                    self._hold_to_ceilings(unit, unit.child.pid)
                if logs_are_due:
                    self._logs.check(unit.name, loop.time(), partial(self._reopen, unit))
        self._close_idle_slots(units, loop.time())
        if logs_are_due:
            self._logs.check_own(supervisor.premises.directory.own_log)
        if supervisor.state == "running" and self._is_calm(units):
            supervisor.premises.keep_spares()
        if supervisor.manager.listens:
            supervisor.manager.status(supervisor.in_words())
            if supervisor.state != "running":
                supervisor.manager.busy()
        supervisor.manager.alive(loop.time())
        self._consider_giving_up(units)

    def _close_idle_slots(self, units: list[Unit], now_s: float) -> None:
        """Let no connection wait for a process that does not come: one that was stopped, or that
        has been down for a second while another serves the same port.
        """
        for unit in units:
            if unit.spec.slot is None or unit.children():
                self._down_since.pop(unit.name, None)
                continue
            since = self._down_since.setdefault(unit.name, now_s)
            others = any(other.spec.slot is not None and other.serving for other in units)
            waits = unit.phase is Phase.BACKOFF and not others
            if now_s - since >= SLOT_PATIENCE_S and not waits:
                self._supervisor.premises.close_slot(unit.spec.slot)

    def _hold_to_ceilings(self, unit: Unit, pid: int) -> None:
        usage = self.figures.usage(unit.name, pid)
        if usage is None or not unit.serving:
            return
        settings = self._supervisor.settings.supervisor
        limits = Limits(settings.max_rss_bytes, fd_ceiling(settings.max_fds, self._allowed_fds))
        excess = self._ceilings.look(unit.name, usage.rss_bytes, usage.fds, limits)
        if excess is not None:
            unit.exceed(excess.text, at_once=excess.at_once)

    def _consider_giving_up(self, units: list[Unit]) -> None:
        """End the bus, with exit code 1, when a process it cannot be without is hopeless."""
        supervisor = self._supervisor
        give_up = supervisor.settings.supervisor.give_up
        if give_up == "never" or supervisor.state == "stopping":
            return
        for unit in units:
            if unit.state.wanted and unit.failing() and give_up in ("any", unit.spec.kind):
                supervisor.exit_code = 1
                supervisor.request_stop(f"giving up: {unit.name} cannot be kept running")
                return

    def _is_calm(self, units: list[Unit]) -> bool:
        """Whether nothing starts and nothing has just started: time for a spare's imports.

        A plan of nothing but other programs has no use for one.
        """
        return any(not unit.spec.command for unit in units) and all(
            unit.phase not in (Phase.STARTING, Phase.STOPPING, Phase.ABORTING)
            and (unit.age_s() or SETTLED_S) >= SETTLED_S
            for unit in units
        )

    def _log_limits(self) -> tuple[int, int]:
        settings = self._supervisor.settings.supervisor
        return settings.log_max_bytes, settings.log_files
