"""One supervised process: carries out what `policy.decide` says and tells what happened.

It owns the current `Child` and one timer. It decides nothing itself.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from bus.clock import now_ns
from bus.config.supervision import SupervisorSettings
from bus.runtime.link import new_token
from bus.supervision.events import Happening
from bus.supervision.plan import ProcessSpec
from bus.supervision.policy import Action, Event, Phase, State, decide, is_failing
from bus.supervision.spawn import Child, signal_name
from bus.wire.link import Beat, Bye, Draining, LinkMessage, Ready, Sender

LATE_S: Final = 0.5
"""A timer of ours that is later than this shows that the supervisor itself did not run."""


class Ground(Protocol):
    """What a process needs from its surroundings; the supervisor provides it."""

    def launch(
        self, spec: ProcessSpec, generation: int, token: str, on_exit: Callable[[int], None]
    ) -> Child:
        """Start the process; raises `OSError` when it cannot be started."""
        ...

    def gone(self, unit: Unit) -> None:
        """The process has ended and is reaped."""
        ...

    def served(self, unit: Unit) -> None:
        """The process has become ready."""
        ...

    def tell(self, happening: Happening) -> None:
        """Something happened that an operator may want to see."""
        ...


@dataclass(frozen=True, slots=True)
class LastExit:
    """How a process last ended: its exit code (None when a signal ended it), the signal's name,
    the line it said itself, what the supervisor had done to it, and the wall time in ns.
    """

    code: int | None
    signal: str | None
    line: str
    cause: str
    at_ns: int

    def in_words(self) -> str:
        """One sentence for a table or a log."""
        how = f"signal {self.signal}" if self.signal else f"code {self.code}"
        why = self.line or (self.cause if self.cause not in ("", "exited") else "")
        return f"{how} ({why})" if why else how


@dataclass(slots=True)
class Vitals:
    """What the running generation last said of itself."""

    endpoints: Mapping[str, str] = field(default_factory=dict)
    verbs: tuple[str, ...] = ()
    counters: Mapping[str, int | float | str] = field(default_factory=dict)
    beat_at: float | None = None
    beats: int = 0
    loop_lag_ms: float = 0.0
    farewell: str = ""


class Unit:
    """A process of the plan. Everything happens on the supervisor's loop."""

    def __init__(self, spec: ProcessSpec, settings: SupervisorSettings, ground: Ground) -> None:
        self.spec: Final = spec
        self.state = State()
        self.generation = 0
        self.child: Child | None = None
        self.started_at: float | None = None
        self.last_exit: LastExit | None = None
        self.vitals = Vitals()
        self.operator_lock: Final = asyncio.Lock()
        self.settings = settings
        self._ground = ground
        self._token = ""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """The process's name, unique in the bus."""
        return self.spec.name

    @property
    def phase(self) -> Phase:
        """Where it is in its life."""
        return self.state.phase

    @property
    def serving(self) -> bool:
        """Whether the current generation serves."""
        return self.phase is Phase.READY

    @property
    def sender(self) -> Sender:
        """How the current generation is addressed on the link."""
        return Sender(self.name, self.generation, self._token)

    def failing(self) -> bool:
        """Whether it crashes too often."""
        return is_failing(self.state, self._loop.time(), self.settings)

    def start(self) -> None:
        """Have it run from now on, whatever it takes."""
        self._happen(Event.START)

    def stop(self) -> None:
        """Have it drained and not started again until `start`."""
        self._happen(Event.STOP)

    def restart(self) -> None:
        """Have it drained and started anew."""
        self._happen(Event.RESTART)

    def kill(self) -> None:
        """End it at once, group and all; what follows is as for any other exit."""
        if self.child is not None:
            self.child.kill_group()

    def heard(self, sender: Sender, message: LinkMessage) -> bool:
        """Take a message of the link; False when it is not from the generation that runs now."""
        if sender.generation != self.generation or sender.token != self._token or not self.child:
            return False
        match message:
            case Ready(endpoints, verbs):
                self.vitals.endpoints = endpoints
                self.vitals.verbs = verbs
                if self.phase is Phase.STARTING:
                    self.vitals.beat_at = self._loop.time()
                    self._happen(Event.READY)
                    self._say("ready", f"ready in {self.age_s() or 0:.2f} s")
                    self._ground.served(self)
            case Beat(number, loop_lag_ms, counters):
                self.vitals.beat_at = self._loop.time()
                self.vitals.beats = number
                self.vitals.loop_lag_ms = loop_lag_ms
                self.vitals.counters = counters
                self._happen(Event.BEAT)
            case Draining(reason) if self.phase is not Phase.STOPPING:
                self._say("note", f"draining: {reason}")
            case Bye(_, line):
                self.vitals.farewell = line
        return True

    def age_s(self) -> float | None:
        """Seconds since the current generation was started; None when none runs."""
        if self.child is None or self.started_at is None:
            return None
        return self._loop.time() - self.started_at

    def beat_age_s(self) -> float | None:
        """Seconds since the last heartbeat of the current generation."""
        beat_at = self.vitals.beat_at
        return None if beat_at is None or self.child is None else self._loop.time() - beat_at

    def paused(self) -> None:
        """The supervisor itself did not run for a while: give the process time to be heard."""
        self._happen(Event.PAUSED)

    async def until(self, met: Callable[[Unit], bool], timeout_s: float) -> bool:
        """Wait until ``met(self)``; False when it is not met within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not met(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return met(self)
        return True

    def _happen(self, event: Event, exit_code: int | None = None) -> None:
        before = self.state
        decision = decide(
            before,
            event,
            self._loop.time(),
            self.settings,
            jitter=random.uniform(-1.0, 1.0),
            exit_code=exit_code,
        )
        self.state = decision.state
        self._narrate(before, event)
        for action in decision.actions:
            self._carry_out(action)
        if self.state.deadline != before.deadline or self._timer is None:
            self._set_timer()
        self._changed.set()

    def _carry_out(self, action: Action) -> None:
        match action:
            case Action.SPAWN:
                self._spawn()
            case Action.TERM if self.child is not None:
                self.child.terminate()
            case Action.ABORT if self.child is not None:
                self.child.send(signal.SIGABRT)
                self.child.send(signal.SIGCONT)  # a stopped process could not write its stacks
            case Action.KILL_GROUP:
                self.kill()

    def _spawn(self) -> None:
        self.generation += 1
        self._token = new_token()
        self.vitals = Vitals()
        self.started_at = self._loop.time()
        try:
            self.child = self._ground.launch(self.spec, self.generation, self._token, self._on_exit)
        except OSError as error:
            self.last_exit = LastExit(None, None, f"cannot start: {error}", "", now_ns())
            self._say("exited", f"cannot start: {error}")
            self._loop.call_soon(self._happen, Event.EXITED, 127)

    def _on_exit(self, exit_code: int) -> None:
        cause = self.state.cause
        self.last_exit = LastExit(
            code=None if exit_code < 0 else exit_code,
            signal=signal_name(-exit_code) if exit_code < 0 else None,
            line=self.vitals.farewell,
            cause=cause if self.phase in (Phase.STOPPING, Phase.ABORTING) else "exited",
            at_ns=now_ns(),
        )
        asked = self.phase is Phase.STOPPING
        if not asked or exit_code != 0:
            age = self.age_s() or 0.0
            self._say("exited", f"exited with {self.last_exit.in_words()} after {age:.1f} s")
        self.child = None
        self._ground.gone(self)
        self._happen(Event.EXITED, exit_code)

    def _narrate(self, before: State, event: Event) -> None:
        """Say what an operator should know of a transition."""
        phase = self.phase
        if phase is before.phase and phase is not Phase.STARTING:
            return
        match phase:
            case Phase.STARTING if event is Event.EXITED:
                self._say("restarting", "restarting now")
            case Phase.BACKOFF if self.state.deadline is not None:
                wait = self.state.deadline - self._loop.time()
                how = "failing, next try" if self.failing() else "restarting"
                kind = "failing" if self.failing() else "restarting"
                self._say(kind, f"{how} in {wait:.1f} s")
            case Phase.ABORTING:
                self._say("hung", f"{self.state.cause}; taking its stacks and replacing it")
            case Phase.FATAL:
                self._say("fatal", "refused its settings; not started again until you say so")
            case Phase.STOPPED if event is Event.EXITED:
                self._say("stopped", "stopped")

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state.deadline is not None:
            self._timer = self._loop.call_at(
                self.state.deadline, self._on_deadline, self.state.deadline
            )

    def _on_deadline(self, deadline: float) -> None:
        self._timer = None
        late = self._loop.time() - deadline > LATE_S
        doubtful = late and self.phase in (Phase.READY, Phase.STARTING)
        self._happen(Event.PAUSED if doubtful else Event.DEADLINE)

    def _say(self, kind: str, text: str) -> None:
        self._ground.tell(Happening(now_ns(), kind, self.name, text))
