"""One supervised process: carries out what `policy.decide` says and tells what happened.

It owns the current generation and one timer, and decides nothing itself. For a process with a
listening socket of the supervisor's there may be two more generations for a while: a successor,
which takes over once it serves, and those it took over from, which drain.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from bus.clock import now_ns
from bus.config.supervision import SupervisorSettings
from bus.supervision.events import Happening
from bus.supervision.generation import Generation, LastExit, Sender, Vitals
from bus.supervision.ground import Ground
from bus.supervision.narration import narrated
from bus.supervision.plan import ProcessSpec
from bus.supervision.policy import Action, Event, Phase, State, decide, is_failing
from bus.supervision.spawn import Child, signal_name
from bus.wire.link import Beat, Bye, Draining, LinkMessage, Ready, Stop

LATE_S: Final = 0.5
"""A timer of ours that is later than this shows that the supervisor itself did not run."""


class Unit:
    """A process of the plan. Everything happens on the supervisor's loop."""

    def __init__(self, spec: ProcessSpec, settings: SupervisorSettings, ground: Ground) -> None:
        self.spec: Final = spec
        self.state = State()
        self.last_exit: LastExit | None = None
        self.operator_lock: Final = asyncio.Lock()
        self.is_dismissed = False  # by new settings: it is not to run again
        self.settings = settings
        self._ground = ground
        self._current = Generation(spec.name, 0, 0.0)
        self._successor: Generation | None = None
        self._retired: list[Generation] = []
        self._last_number = 0
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
    def generation(self) -> int:
        """The number of the current generation, or of the last when none runs; from 1."""
        return self._current.number

    @property
    def child(self) -> Child | None:
        """The process of the current generation; None when none runs."""
        return self._current.child

    @property
    def vitals(self) -> Vitals:
        """What the current generation said of itself."""
        return self._current.vitals

    @property
    def sender(self) -> Sender:
        """How the current generation is addressed on the link."""
        return self._current.sender

    @property
    def retiring(self) -> bool:
        """Whether an earlier generation still drains."""
        return bool(self._retired)

    def children(self) -> list[Child]:
        """The processes of every generation that runs: current, successor, draining ones."""
        return [run.child for run in self._generations() if run.child is not None]

    def failing(self) -> bool:
        """Whether it crashes too often."""
        return is_failing(self.state, self._loop.time(), self.settings)

    def start(self) -> None:
        """Have it run from now on, whatever it takes."""
        self._happen(Event.START)

    def stop(self) -> None:
        """Have it drained and not started again until `start`."""
        self._happen(Event.STOP)
        if self._successor is not None and self._successor.child is not None:
            self._successor.child.kill_group()

    def leave(self) -> None:
        """Have it end soon and for good: everything is taken down, nobody takes its place."""
        for run in self._generations():
            if run.child is not None:
                self._ground.send(run.sender, Stop("down"))
        self.stop()

    def restart(self) -> None:
        """Have it drained and started anew."""
        self._happen(Event.RESTART)

    async def succeed(self, timeout_s: float) -> str:
        """Replace it without a gap: a further generation starts, takes over once it serves, and
        only then the old one is drained. Returns when it is being drained (see :meth:`rid`).

        When the further one does not come to serve, the old one stays; the reason is returned
        (else an empty text). One at a time: hold ``operator_lock``.
        """
        limit_s = min(timeout_s, self.settings.ready_timeout_s)
        heir = self._successor = self._new_generation()
        beside = "beside the one that serves, as asked for"
        self._say("starting", f"starting generation {heir.number} {beside}")
        try:
            heir.child = self._launch(heir)
        except OSError as error:
            self._successor = None
            return f"cannot start: {error}"
        await self.until(lambda _: heir.ready or heir.child is None, limit_s)
        if self._current is heir:
            return ""
        self._successor = None
        why = f"not ready within {limit_s:g} s"
        if heir.last_exit is not None:
            why = f"ended before it was ready: {heir.last_exit.in_words()}"
        elif heir.child is not None:
            self._retire(heir, at_once=True)
        self._say("failing", f"generation {heir.number} {why}; the old one goes on")
        return f"the new one {why}; the old one goes on"

    async def rid(self, timeout_s: float) -> bool:
        """Wait until no earlier generation drains any more; whether that came true in time."""
        return await self.until(lambda unit: not unit.retiring, timeout_s)

    def exceed(self, text: str, *, at_once: bool) -> None:
        """It takes more than it may, as ``text`` says: drain it, or kill it at once."""
        self._say("limit", f"{text}; {'killing' if at_once else 'replacing'} it")
        if at_once:
            self.kill()
        else:
            self._happen(Event.EXCEEDED)

    def kill(self) -> None:
        """End it at once, group and all; what follows is as for any other exit."""
        for child in self.children():
            child.kill_group()

    def heard(self, sender: Sender, message: LinkMessage) -> bool:
        """Take a message of the link; False when it is not from a generation that runs now."""
        run = next((run for run in self._generations() if run.is_sender(sender)), None)
        if run is None:
            return False
        is_current = run is self._current
        match message:
            case Ready(endpoints, verbs):
                run.vitals.endpoints = endpoints
                run.vitals.verbs = verbs
                if run is self._successor:
                    self._take_over(run)
                elif is_current and self.phase is Phase.STARTING:
                    self._serve(run, Event.READY)
            case Beat(number, at_ns, loop_lag_ms, counters):
                run.vitals.take_beat(number, loop_lag_ms, counters, self._beaten(run, at_ns))
            case Draining(reason) if is_current and self.phase is not Phase.STOPPING:
                if not run.vitals.drains:  # once: what it repeats would push out all other events
                    self._say("note", f"draining: {reason}")
                run.vitals.drains = True
            case Bye(_, line):
                run.vitals.farewell = line
        return True

    def felt(self, sender: Sender, at_ns: int) -> None:
        """It had a heartbeat at ``at_ns`` of the monotonic clock, whatever that says."""
        run = next((run for run in self._generations() if run.is_sender(sender)), None)
        if run is not None:
            run.vitals.beat_at = self._beaten(run, at_ns)

    def _beaten(self, run: Generation, at_ns: int) -> float:
        """Trust a generation until its hang timeout from then; when it was, in seconds."""
        at = max(run.started_at, min(at_ns / 1e9, self._loop.time()))
        if run is self._current:
            self._happen(Event.BEAT, at=at)
        return at

    def age_s(self) -> float | None:
        """Seconds since the current generation was started; None when none runs."""
        return None if self.child is None else self._loop.time() - self._current.started_at

    def beat_age_s(self) -> float | None:
        """Seconds since the last heartbeat of the current generation."""
        beat_at = self.vitals.beat_at
        return None if beat_at is None or self.child is None else self._loop.time() - beat_at

    def quiet_s(self) -> float | None:
        """Seconds since the process last reported a further message in, since its start when it
        never did; None for one that counts none.
        """
        if self.child is None or "messages_in" not in self.vitals.counters:
            return None
        return self._loop.time() - (self.vitals.moved_at or self._current.started_at)

    @property
    def is_steady(self) -> bool:
        """Whether one generation at most runs, and neither starts nor ends."""
        steady = (Phase.READY, Phase.STOPPED, Phase.BACKOFF, Phase.FATAL)
        return self.phase in steady and self._successor is None and not self._retired

    def facts(self) -> dict[str, Any]:
        """All that a supervisor that takes this one's place must know of it, as JSON holds it."""
        return {"state": self.state.to_facts(), "current": self._current.to_facts()} | {
            "last_exit": None if self.last_exit is None else asdict(self.last_exit)
        }

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Watch on from the `facts` of an earlier supervisor, which was this very process."""
        last = facts["last_exit"]
        self.last_exit = None if last is None else LastExit.of_facts(last)
        self.state = State.of_facts(facts["state"])
        run = self._current = Generation.of_facts(self.name, facts["current"])
        self._last_number = run.number
        if (pid := facts["current"]["pid"]) is not None:
            run.child = Child(pid, partial(self._on_exit, run))
        self._happen(Event.PAUSED)  # nobody is judged by the time it took

    def abandon(self) -> None:
        """Watch it no longer, without ending it: somebody else will."""
        if self._timer is not None:
            self._timer.cancel()
        for child in self.children():
            child.leave()

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

    def _happen(self, event: Event, exit_code: int | None = None, at: float | None = None) -> None:
        """``at`` is the monotonic second at which it happened, when that is not now."""
        before = self.state
        decision = decide(
            before,
            event,
            self._loop.time() if at is None else at,
            self.settings,
            jitter=random.uniform(-1.0, 1.0),
            exit_code=exit_code,
        )
        self.state = decision.state
        if self.phase is not before.phase or event is Event.EXITED:  # hardly ever: most is a beat
            told = narrated(before, self.state, event, self._loop.time(), failing=self.failing())
            if told is not None:
                self._say(*told)
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

    def _generations(self) -> list[Generation]:
        heirs = [] if self._successor is None else [self._successor]
        return [self._current, *heirs, *self._retired]

    def _new_generation(self) -> Generation:
        self._last_number += 1
        return Generation(self.name, self._last_number, self._loop.time())

    def _launch(self, run: Generation) -> Child:
        on_exit = partial(self._on_exit, run)
        return self._ground.launch(self.spec, run.number, on_exit)

    def _spawn(self) -> None:
        run = self._current = self._new_generation()
        try:
            run.child = self._launch(run)
        except OSError as error:
            self.last_exit = LastExit(None, None, f"cannot start: {error}", "", now_ns())
            self._say("exited", f"cannot start: {error}")
            self._loop.call_soon(self._happen, Event.EXITED, 127)

    def _serve(self, run: Generation, event: Event) -> None:
        run.ready = True
        run.vitals.beat_at = self._loop.time()
        self._happen(event)
        self._say("ready", f"ready in {self._loop.time() - run.started_at:.2f} s")
        self._ground.served(self)

    def _take_over(self, heir: Generation) -> None:
        """The successor serves: the role is its, unless the role itself is over."""
        if not self.state.wanted or self.phase in (Phase.STOPPING, Phase.STOPPED, Phase.FATAL):
            return
        old, self._current, self._successor = self._current, heir, None
        hung = self.phase is Phase.ABORTING
        self._serve(heir, Event.SUCCEEDED)
        if old.child is not None:
            self._retire(old, at_once=hung)
            if not hung:
                self._say("stopping", f"generation {old.number} (pid {old.child.pid}) drains")

    def _retire(self, run: Generation, *, at_once: bool) -> None:
        assert run.child is not None
        self._retired.append(run)
        if at_once:
            run.child.kill_group()
        else:
            run.child.terminate()
            self._loop.call_later(self.settings.stop_grace_s, run.child.kill_group)

    def _on_exit(self, run: Generation, exit_code: int) -> None:
        self._ground.hear(run.sender)  # its last words
        is_current = run is self._current
        cause = self.state.cause if is_current else "restarted"
        asked = (is_current and self.phase is Phase.STOPPING) or run in self._retired
        run.last_exit = LastExit(
            code=None if exit_code < 0 else exit_code,
            signal=signal_name(-exit_code) if exit_code < 0 else None,
            line=run.vitals.farewell,
            cause=cause if asked or (is_current and self.phase is Phase.ABORTING) else "exited",
            at_ns=now_ns(),
            log_tail=() if asked else tuple(self._ground.log_tail(run.sender)),
        )
        age = self._loop.time() - run.started_at
        which = "" if is_current else f"generation {run.number} "
        if not asked or exit_code != 0:
            self._say("exited", f"{which}exited with {run.last_exit.in_words()} after {age:.1f} s")
        elif not is_current:
            self._say("stopped", f"{which}has drained and left after {age:.1f} s")
        run.child = None
        self._ground.ended(run.sender)
        if is_current:
            self.last_exit = run.last_exit
            self._ground.gone(self)
            self._happen(Event.EXITED, exit_code)
            return
        if run in self._retired:
            self._retired.remove(run)
            if run.ready:  # not a successor that never served
                self.last_exit = run.last_exit
        self._changed.set()

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
        self._ground.feel_pulses()
        if self.state.deadline != deadline:
            return  # a heartbeat had come, and was not looked at yet
        late = self._loop.time() - deadline > LATE_S
        doubtful = late and self.phase in (Phase.READY, Phase.STARTING)
        self._happen(Event.PAUSED if doubtful else Event.DEADLINE)

    def _say(self, kind: str, text: str) -> None:
        self._ground.tell(Happening(now_ns(), kind, self.name, text))
