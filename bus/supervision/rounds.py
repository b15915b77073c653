"""What the supervisor looks at by itself: heartbeats, figures, ceilings, logs, spares, itself.

Once a second while anything goes on, else only as often as heartbeats must be looked at before a
hang timeout could run out. Figures and logs are looked at every two seconds while a process or a
log has come near to what it may take, every twelve else. With nothing going on this is all that
wakes the supervisor.
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

BUSY_S: Final = 1.0
"""Between two looks while something starts, ends or waits for a look."""
CALM_S: Final = 4.0
"""Between two looks at most."""
BEAT_MARGIN_S: Final = 1.25
"""How long before a hang timeout runs out heartbeats are read: a beat's interval, and some."""
WATCHFUL_S: Final = 2.0
"""Between two looks at figures and logs while one has come near to its bound."""
FIGURES_S: Final = 12.0
"""Between two looks at figures and logs else."""
NEAR: Final = 0.5
"""This share of a ceiling is near to it."""
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
        self._due_at = 0.0
        self._figures_due_at = 0.0

    def begin(self) -> None:
        """Look from now on; the limit of open files is raised first."""
        self._allowed_fds = raise_fd_limit()
        self._tell_manager()
        self._look_at(asyncio.get_running_loop().time() + BUSY_S)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hasten(self) -> None:
        """Something goes on: have the next look soon."""
        soon = asyncio.get_running_loop().time() + BUSY_S
        if self._timer is not None and self._due_at > soon:
            self._look_at(soon)

    def forget(self, name: str) -> None:
        """A process has ended."""
        self.hasten()
        self.figures.forget(name)
        self._ceilings.forget(name)

    def _look(self) -> None:
        """Notice when this process itself did not run (a paused machine), and all the rest.

        A timer and not a task: after a pause it is due before any deadline that ran out
        meanwhile, and must have moved them before their own timers are run.
        """
        supervisor = self._supervisor
        now_s = asyncio.get_running_loop().time()
        late_s = now_s - self._due_at
        units = list(supervisor.units.values())
        if late_s > LATE_S:
            supervisor.say("note", f"the supervisor did not run for {late_s:.1f} s")
            for unit in units:
                unit.paused()
        supervisor.feel_pulses()
        if now_s >= self._figures_due_at:
            self._look_at_figures(units, now_s)
        is_calm = not self._close_idle_slots(units, now_s) and all(
            unit.is_steady and unit.phase is not Phase.BACKOFF for unit in units
        )
        if supervisor.state == "running" and self._is_calm(units):
            supervisor.premises.keep_spares()
        self._tell_manager()
        supervisor.manager.alive(now_s)
        self._consider_giving_up(units)
        self._look_at(now_s + self._interval_s(is_calm=is_calm))

    def _tell_manager(self) -> None:
        """How far a start or stop is, and that it gets on."""
        supervisor = self._supervisor
        if supervisor.manager.listens:
            supervisor.manager.status(supervisor.in_words())
            if supervisor.state != "running":
                supervisor.manager.busy()

    def _look_at(self, due_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_at = due_at
        self._timer = asyncio.get_running_loop().call_at(due_at, self._look)

    def _interval_s(self, *, is_calm: bool) -> float:
        """How long until the next look: never so long that a heartbeat waits longer than it may."""
        supervisor = self._supervisor
        if not is_calm or supervisor.state != "running" or supervisor.premises.wants_spares:
            return BUSY_S
        limits_s = [CALM_S, supervisor.settings.supervisor.hang_timeout_s - BEAT_MARGIN_S]
        if supervisor.manager.watchdog_s:
            limits_s.append(supervisor.manager.watchdog_s / 4)
        return max(min(limits_s), BUSY_S / 2)

    def _look_at_figures(self, units: list[Unit], now_s: float) -> None:
        """Hold processes and logs to what they may take; again soon if one has come near to it."""
        self._supervisor.read_beats()
        is_near = False
        for unit in units:
            if unit.child is not None:
                is_near |= self._hold_to_ceilings(unit, unit.child.pid)
                is_near |= self._logs.check(unit.name, now_s, partial(self._reopen, unit))
        is_near |= self._logs.check_own(self._supervisor.premises.directory.own_log)
        self._figures_due_at = now_s + (WATCHFUL_S if is_near else FIGURES_S) - BUSY_S / 2

    def _close_idle_slots(self, units: list[Unit], now_s: float) -> bool:
        """Let no connection wait for a process that does not come: one that was stopped, or that
        has been down for a second while another serves the same port. Whether one is still to be
        closed.
        """
        left = False
        for unit in units:
            if unit.spec.slot is None or unit.children():
                self._down_since.pop(unit.name, None)
                continue
            since = self._down_since.setdefault(unit.name, now_s)
            others = any(other.spec.slot is not None and other.serving for other in units)
            waits = unit.phase is Phase.BACKOFF and not others
            if now_s - since >= SLOT_PATIENCE_S and not waits:
                self._supervisor.premises.close_slot(unit.spec.slot)
            else:
                left = True
        return left

    def _hold_to_ceilings(self, unit: Unit, pid: int) -> bool:
        """Replace a process that takes too much; whether it takes half of that."""
        usage = self.figures.look(unit.name, pid)
        if usage is None or not unit.serving:
            return False
        settings = self._supervisor.settings.supervisor
        limits = Limits(settings.max_rss_bytes, fd_ceiling(settings.max_fds, self._allowed_fds))
        excess = self._ceilings.look(unit.name, usage.rss_bytes, usage.fds, limits)
        if excess is not None:
            unit.exceed(excess.text, at_once=excess.at_once)
        near_rss = limits.rss_bytes and usage.rss_bytes > limits.rss_bytes * NEAR
        return bool(near_rss) or usage.fds > limits.fds * NEAR

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
