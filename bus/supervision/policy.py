"""What to do about a process when something happens to it: a table, and no I/O.

`decide` takes the state of one process, an event and the monotonic time in seconds, and returns
the next state and the actions to carry out. It reads no clock, draws no random number, knows no
process. A state's ``deadline`` says when the caller is to send `Event.DEADLINE`; what has then
run out follows from the phase.

========= ======================= ==================================================
phase     deadline means          leaves it
========= ======================= ==================================================
stopped   none                    START, RESTART -> starting
starting  not ready in time       READY -> ready; deadline -> aborting; EXITED -> backoff
ready     heartbeats missing      BEAT moves it; deadline -> aborting; EXITED -> backoff
aborting  the stack dump is over  deadline: kill the group; EXITED -> backoff
stopping  the grace is over       deadline: kill the group; EXITED -> stopped or starting
backoff   the wait is over        deadline, START, RESTART -> starting; STOP -> stopped
fatal     none                    START, RESTART -> starting; STOP -> stopped
========= ======================= ==================================================

SUCCEEDED leads from every phase of a process that is wanted and not stopping to ready.

``wanted`` is the operator's word: nothing but START and RESTART sets it, and a process that is
not wanted is never started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from bus.config.supervision import SupervisorSettings

EXIT_CONFIG = 78
ABORT_S = 1.0
"""Time between asking a hung process for its stacks and killing it."""
KILL_AGAIN_S = 1.0
"""Time between two kills of a group that does not end (a process in uninterruptible sleep)."""
JITTER_SHARE = 0.25
EXCEEDED = "over its ceiling"


class Phase(Enum):
    """Where a process is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    ABORTING = "aborting"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FATAL = "fatal"


class Event(Enum):
    """What can happen to a process. EXITED comes with an exit code."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    READY = "ready"
    BEAT = "beat"
    EXITED = "exited"
    DEADLINE = "deadline"
    SUCCEEDED = "succeeded"
    """A further process for the same role has become ready, and has taken the role."""
    EXCEEDED = "exceeded"
    """It takes more than it may: it is drained, and its end counts as a crash."""
    PAUSED = "paused"
    """The supervisor itself did not run for a while: no deadline may be trusted."""


class Action(Enum):
    """What the supervisor is to do, in the order returned."""

    SPAWN = "spawn"
    TERM = "term"
    ABORT = "abort"
    KILL_GROUP = "kill_group"


@dataclass(frozen=True, slots=True)
class State:
    """One process. Times are monotonic seconds.

    ``unstable_starts`` counts starts in a row that did not serve ``stable_after_s``; ``crashes``
    are the times of the crashes within the window, at most ``crash_limit`` of them; ``restarts``
    counts starts after an end that nobody asked for; ``cause`` says why the process was last ended
    or ended itself.
    """

    phase: Phase = Phase.STOPPED
    wanted: bool = False
    deadline: float | None = None
    ready_at: float | None = None
    unstable_starts: int = 0
    crashes: tuple[float, ...] = ()
    restarts: int = 0
    cause: str = ""

    def to_facts(self) -> dict[str, Any]:
        """What `of_facts` makes it of again, as JSON holds it."""
        return {**asdict(self), "phase": self.phase.value, "crashes": list(self.crashes)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> State:
        """From `to_facts`; times are of the same machine since the same boot."""
        return cls(**{**facts, "phase": Phase(facts["phase"]), "crashes": tuple(facts["crashes"])})


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, and what to do to get there."""

    state: State
    actions: tuple[Action, ...] = ()


def decide(
    state: State,
    event: Event,
    now: float,
    settings: SupervisorSettings,
    *,
    jitter: float = 0.0,
    exit_code: int | None = None,
) -> Decision:
    """What follows when ``event`` happens to a process in ``state`` at ``now``.

    ``jitter`` in [-1, 1] spreads the waits by up to a quarter; ``exit_code`` belongs to EXITED
    (negative: the signal that ended it, as in :mod:`subprocess`). Never raises.
    """
    if event is Event.BEAT:  # first, as it is nearly all that ever happens
        if state.phase is not Phase.READY:
            return Decision(state)
        return Decision(replace(state, deadline=now + settings.hang_timeout_s))
    match state.phase, event:
        case Phase.STOPPED | Phase.FATAL | Phase.BACKOFF, Event.START | Event.RESTART:
            fresh = replace(state, wanted=True, unstable_starts=0, crashes=(), cause="")
            return _spawn(fresh, now, settings)
        case Phase.STOPPED | Phase.FATAL | Phase.BACKOFF, Event.STOP:
            return Decision(replace(state, phase=Phase.STOPPED, wanted=False, deadline=None))
        case Phase.BACKOFF, Event.DEADLINE:
            return _spawn(replace(state, restarts=state.restarts + 1), now, settings)

        case Phase.STARTING, Event.READY:
            deadline = now + settings.hang_timeout_s
            return Decision(replace(state, phase=Phase.READY, ready_at=now, deadline=deadline))
        case Phase.STARTING, Event.DEADLINE:
            return _abort(state, now, f"not ready after {settings.ready_timeout_s:g} s")
        case Phase.STARTING, Event.PAUSED:
            return Decision(replace(state, deadline=now + settings.ready_timeout_s))
        case Phase.READY, Event.PAUSED:
            return Decision(replace(state, deadline=now + settings.hang_timeout_s))
        case Phase.READY, Event.DEADLINE:
            return _abort(state, now, f"no heartbeat for {settings.hang_timeout_s:g} s")

        case (
            Phase.STARTING | Phase.READY | Phase.ABORTING | Phase.BACKOFF,
            Event.SUCCEEDED,
        ) if state.wanted:
            taken = replace(
                state,
                phase=Phase.READY,
                ready_at=now,
                deadline=now + settings.hang_timeout_s,
                restarts=state.restarts + (state.phase in (Phase.ABORTING, Phase.BACKOFF)),
                cause="",
            )
            return Decision(taken)

        case Phase.STARTING | Phase.READY, Event.STOP:
            return _drain(replace(state, wanted=False, cause="stopped"), now, settings)
        case Phase.STARTING | Phase.READY, Event.RESTART:
            return _drain(replace(state, wanted=True, cause="restarted"), now, settings)

        case Phase.READY, Event.EXCEEDED:
            return _drain(replace(state, cause=EXCEEDED), now, settings)

        case Phase.ABORTING, Event.DEADLINE:
            return Decision(replace(state, deadline=now + KILL_AGAIN_S), (Action.KILL_GROUP,))
        case Phase.ABORTING, Event.STOP:
            return Decision(replace(state, wanted=False), (Action.KILL_GROUP,))
        case Phase.ABORTING, Event.START | Event.RESTART:
            return Decision(replace(state, wanted=True))

        case Phase.STOPPING, Event.DEADLINE:
            return Decision(replace(state, deadline=now + KILL_AGAIN_S), (Action.KILL_GROUP,))
        case Phase.STOPPING, Event.START | Event.RESTART:
            return Decision(replace(state, wanted=True, cause="restarted"))
        case Phase.STOPPING, Event.STOP:
            return Decision(replace(state, wanted=False))

        case Phase.STARTING | Phase.READY | Phase.ABORTING | Phase.STOPPING, Event.EXITED:
            return _after_exit(state, now, settings, jitter, exit_code)
    return Decision(state)


def backoff_s(unstable_starts: int, settings: SupervisorSettings, jitter: float) -> float:
    """The wait before the next start after this many unstable starts in a row, in seconds.

    Zero for none; then ``backoff_first_s`` doubled for each further one, at most
    ``backoff_cap_s``, spread by ``jitter`` in [-1, 1] times a quarter.
    """
    if unstable_starts <= 0:
        return 0.0
    doublings = min(unstable_starts - 1, 60)  # beyond that a float needs no more doubling
    wait = min(settings.backoff_cap_s, settings.backoff_first_s * 2.0**doublings)
    return wait * (1.0 + JITTER_SHARE * jitter)


def is_failing(state: State, now: float, settings: SupervisorSettings) -> bool:
    """Whether the process crashes too often for an operator not to be told.

    True for a fatal one; from ``unstable_limit`` unstable starts in a row until one start has
    been stable; and while ``crash_limit`` crashes lie within the window.
    """
    if state.phase is Phase.FATAL:
        return True
    if len(_recent(state.crashes, now, settings)) >= settings.crash_limit:
        return True
    return state.unstable_starts >= settings.unstable_limit and not _is_stable(state, now, settings)


def _spawn(state: State, now: float, settings: SupervisorSettings) -> Decision:
    started = replace(
        state,
        phase=Phase.STARTING,
        ready_at=None,
        deadline=now + settings.ready_timeout_s,
    )
    return Decision(started, (Action.SPAWN,))


def _drain(state: State, now: float, settings: SupervisorSettings) -> Decision:
    deadline = now + settings.stop_grace_s
    return Decision(replace(state, phase=Phase.STOPPING, deadline=deadline), (Action.TERM,))


def _abort(state: State, now: float, cause: str) -> Decision:
    aborting = replace(state, phase=Phase.ABORTING, deadline=now + ABORT_S, cause=cause)
    return Decision(aborting, (Action.ABORT,))


def _after_exit(
    state: State, now: float, settings: SupervisorSettings, jitter: float, exit_code: int | None
) -> Decision:
    if not state.wanted:
        return Decision(replace(state, phase=Phase.STOPPED, deadline=None, ready_at=None))
    exceeded = state.phase is Phase.STOPPING and state.cause == EXCEEDED
    if state.phase is Phase.STOPPING and not exceeded:  # a restart the operator asked for
        return _spawn(state, now, settings)
    if state.phase is not Phase.ABORTING and not exceeded:
        state = replace(state, cause="exited")
    if exit_code == EXIT_CONFIG:
        return Decision(replace(state, phase=Phase.FATAL, deadline=None, ready_at=None))
    unstable = 0 if _is_stable(state, now, settings) else state.unstable_starts + 1
    crashes = (*_recent(state.crashes, now, settings), now)[-settings.crash_limit :]
    crashed = replace(
        state, phase=Phase.BACKOFF, unstable_starts=unstable, crashes=crashes, ready_at=None
    )
    if is_failing(crashed, now, settings):
        wait = settings.backoff_cap_s * (1.0 + JITTER_SHARE * jitter)
    else:
        wait = backoff_s(unstable, settings, jitter)
    if wait <= 0:
        return _spawn(replace(crashed, restarts=crashed.restarts + 1), now, settings)
    return Decision(replace(crashed, deadline=now + wait))


def _is_stable(state: State, now: float, settings: SupervisorSettings) -> bool:
    return state.ready_at is not None and now - state.ready_at >= settings.stable_after_s


def _recent(
    crashes: tuple[float, ...], now: float, settings: SupervisorSettings
) -> tuple[float, ...]:
    return tuple(at for at in crashes if now - at < settings.crash_window_s)
