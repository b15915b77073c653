"""Decisions about one process, by table, with time moved by hand."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config.supervision import SupervisorSettings
from bus.supervision.policy import (
    ABORT_S,
    Action,
    Event,
    Phase,
    State,
    backoff_s,
    decide,
    is_failing,
)

SETTINGS = SupervisorSettings(
    ready_timeout_s=30.0,
    hang_timeout_s=5.0,
    stop_grace_s=5.0,
    stable_after_s=5.0,
    backoff_first_s=0.1,
    backoff_cap_s=10.0,
    unstable_limit=10,
    crash_limit=20,
    crash_window_s=600.0,
)
STOPPED = State()
STARTING = State(Phase.STARTING, wanted=True, deadline=30.0)
READY = State(Phase.READY, wanted=True, deadline=5.0, ready_at=0.0)
ABORTING = State(Phase.ABORTING, wanted=True, deadline=1.0, ready_at=0.0, cause="hung")
STOPPING = State(Phase.STOPPING, wanted=False, deadline=5.0)
BACKOFF = State(Phase.BACKOFF, wanted=True, deadline=1.0, unstable_starts=3)
FATAL = State(Phase.FATAL, wanted=True)

TRANSITIONS = [
    (STOPPED, Event.START, Phase.STARTING, (Action.SPAWN,)),
    (STOPPED, Event.RESTART, Phase.STARTING, (Action.SPAWN,)),
    (STOPPED, Event.STOP, Phase.STOPPED, ()),
    (STOPPED, Event.EXITED, Phase.STOPPED, ()),
    (STARTING, Event.READY, Phase.READY, ()),
    (STARTING, Event.DEADLINE, Phase.ABORTING, (Action.ABORT,)),
    (STARTING, Event.BEAT, Phase.STARTING, ()),
    (STARTING, Event.STOP, Phase.STOPPING, (Action.TERM,)),
    (STARTING, Event.START, Phase.STARTING, ()),
    (READY, Event.BEAT, Phase.READY, ()),
    (READY, Event.READY, Phase.READY, ()),
    (READY, Event.PAUSED, Phase.READY, ()),
    (READY, Event.DEADLINE, Phase.ABORTING, (Action.ABORT,)),
    (READY, Event.STOP, Phase.STOPPING, (Action.TERM,)),
    (READY, Event.RESTART, Phase.STOPPING, (Action.TERM,)),
    (ABORTING, Event.DEADLINE, Phase.ABORTING, (Action.KILL_GROUP,)),
    (ABORTING, Event.STOP, Phase.ABORTING, (Action.KILL_GROUP,)),
    (ABORTING, Event.BEAT, Phase.ABORTING, ()),
    (STOPPING, Event.DEADLINE, Phase.STOPPING, (Action.KILL_GROUP,)),
    (STOPPING, Event.EXITED, Phase.STOPPED, ()),
    (STOPPING, Event.BEAT, Phase.STOPPING, ()),
    (BACKOFF, Event.DEADLINE, Phase.STARTING, (Action.SPAWN,)),
    (BACKOFF, Event.START, Phase.STARTING, (Action.SPAWN,)),
    (BACKOFF, Event.RESTART, Phase.STARTING, (Action.SPAWN,)),
    (BACKOFF, Event.STOP, Phase.STOPPED, ()),
    (FATAL, Event.START, Phase.STARTING, (Action.SPAWN,)),
    (FATAL, Event.STOP, Phase.STOPPED, ()),
    (FATAL, Event.DEADLINE, Phase.FATAL, ()),
]


@pytest.mark.parametrize(
    ("state", "event", "phase", "actions"),
    TRANSITIONS,
    ids=[f"{state.phase.value}-{event.value}" for state, event, _, _ in TRANSITIONS],
)
def test_each_event_leads_to_its_phase_and_actions(
    state: State, event: Event, phase: Phase, actions: tuple[Action, ...]
) -> None:
    decision = decide(state, event, 100.0, SETTINGS, exit_code=0)
    assert decision.state.phase is phase
    assert decision.actions == actions


@pytest.mark.parametrize(
    ("unstable", "jitter", "wait"),
    [
        (0, 0.0, 0.0),
        (0, 1.0, 0.0),
        (1, 0.0, 0.1),
        (2, 0.0, 0.2),
        (3, 0.0, 0.4),
        (7, 0.0, 6.4),
        (8, 0.0, 10.0),
        (9, 0.0, 10.0),
        (1_000_000, 0.0, 10.0),
        (1, 1.0, 0.125),
        (1, -1.0, 0.075),
        (50, 1.0, 12.5),
        (50, -1.0, 7.5),
    ],
)
def test_the_wait_doubles_up_to_its_cap(unstable: int, jitter: float, wait: float) -> None:
    assert backoff_s(unstable, SETTINGS, jitter) == pytest.approx(wait)


def test_the_first_crash_of_a_stable_process_is_followed_by_an_immediate_restart() -> None:
    decision = decide(READY, Event.EXITED, 5.0, SETTINGS, exit_code=-9)
    assert decision.actions == (Action.SPAWN,)
    assert decision.state.restarts == 1
    assert decision.state.unstable_starts == 0


def test_a_crash_just_before_stability_waits() -> None:
    decision = decide(READY, Event.EXITED, 4.999, SETTINGS, exit_code=-9)
    assert decision.state.phase is Phase.BACKOFF
    assert decision.state.deadline == pytest.approx(5.099)
    assert decision.actions == ()


def test_a_clean_exit_nobody_asked_for_is_a_crash() -> None:
    assert decide(READY, Event.EXITED, 1.0, SETTINGS, exit_code=0).state.phase is Phase.BACKOFF


def test_bad_settings_are_not_tried_again() -> None:
    decision = decide(STARTING, Event.EXITED, 1.0, SETTINGS, exit_code=78)
    assert decision.state.phase is Phase.FATAL
    assert decision.actions == ()
    assert is_failing(decision.state, 1.0, SETTINGS)


def test_a_crash_loop_reaches_the_cap_and_counts_as_failing() -> None:
    now, state = 0.0, decide(STOPPED, Event.START, 0.0, SETTINGS).state
    waits = []
    for _ in range(12):
        state = decide(state, Event.EXITED, now, SETTINGS, exit_code=1).state
        assert state.deadline is not None
        waits.append(round(state.deadline - now, 3))
        now = state.deadline
        state = decide(state, Event.DEADLINE, now, SETTINGS).state
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0, 10.0, 10.0]
    assert is_failing(state, now, SETTINGS)


def test_one_stable_start_ends_a_crash_loop() -> None:
    looping = replace(STARTING, unstable_starts=10)
    assert is_failing(looping, 0.0, SETTINGS)
    ready = decide(looping, Event.READY, 0.0, SETTINGS).state
    assert is_failing(ready, 4.9, SETTINGS)
    assert not is_failing(ready, 5.0, SETTINGS)
    assert decide(ready, Event.EXITED, 6.0, SETTINGS, exit_code=1).actions == (Action.SPAWN,)


def test_slow_crashes_count_within_their_window_only() -> None:
    state = READY
    for number in range(19):
        now = 10.0 + 20.0 * number
        state = replace(READY, ready_at=now - 10, crashes=state.crashes)
        state = decide(state, Event.EXITED, now, SETTINGS, exit_code=1).state
        assert state.phase is Phase.STARTING, "each served long enough: at once"
    state = replace(READY, ready_at=380.0, crashes=state.crashes)
    twentieth = decide(state, Event.EXITED, 390.0, SETTINGS, exit_code=1).state
    assert twentieth.phase is Phase.BACKOFF
    assert twentieth.deadline == pytest.approx(400.0)
    assert is_failing(twentieth, 390.0, SETTINGS)
    assert not is_failing(twentieth, 610.0, SETTINGS), "the first crash has left the window"


def test_a_hung_process_gets_its_stack_dump_then_dies_then_comes_back() -> None:
    hung = decide(READY, Event.DEADLINE, 5.0, SETTINGS)
    assert hung.state.deadline == 5.0 + ABORT_S
    assert "heartbeat" in hung.state.cause
    killed = decide(hung.state, Event.DEADLINE, 6.0, SETTINGS)
    assert killed.actions == (Action.KILL_GROUP,)
    back = decide(killed.state, Event.EXITED, 6.1, SETTINGS, exit_code=-9)
    assert back.actions == (Action.SPAWN,)


def test_a_heartbeat_moves_the_deadline() -> None:
    assert decide(READY, Event.BEAT, 3.0, SETTINGS).state.deadline == 8.0


def test_missing_heartbeats_do_not_count_before_the_process_is_ready() -> None:
    started = decide(STOPPED, Event.START, 0.0, SETTINGS).state
    assert started.deadline == 30.0


def test_a_restart_drains_first_and_spawns_on_exit() -> None:
    draining = decide(READY, Event.RESTART, 1.0, SETTINGS)
    assert draining.actions == (Action.TERM,)
    spawned = decide(draining.state, Event.EXITED, 2.0, SETTINGS, exit_code=0)
    assert spawned.actions == (Action.SPAWN,)
    assert spawned.state.restarts == 0, "it was asked for"


def test_a_start_during_a_stop_wins_once_the_process_is_gone() -> None:
    state = decide(STOPPING, Event.START, 1.0, SETTINGS).state
    assert decide(state, Event.EXITED, 2.0, SETTINGS, exit_code=0).actions == (Action.SPAWN,)


def test_a_start_by_the_operator_forgets_earlier_crashes() -> None:
    state = replace(BACKOFF, unstable_starts=50, crashes=tuple(float(n) for n in range(20)))
    started = decide(state, Event.START, 30.0, SETTINGS).state
    assert not is_failing(started, 30.0, SETTINGS)


@given(st.integers(0, 2**32), st.lists(st.sampled_from(list(Event)), max_size=60))
def test_an_operators_stop_is_never_overridden(seed: int, events: list[Event]) -> None:
    """Whatever happens after a stop, short of a start, nothing is spawned."""
    source = random.Random(seed)
    now, state = 0.0, source.choice([STARTING, READY, ABORTING, BACKOFF, FATAL, STOPPED])
    state = decide(state, Event.STOP, now, SETTINGS).state
    for event in events:
        if event in (Event.START, Event.RESTART):
            continue
        now += source.random() * 10
        code = source.choice([0, 1, 78, -9])
        decision = decide(state, event, now, SETTINGS, exit_code=code)
        assert Action.SPAWN not in decision.actions
        state = decision.state


@given(st.integers(0, 2**32), st.lists(st.sampled_from(list(Event)), max_size=200))
def test_a_process_runs_at_most_once_and_bounds_hold(seed: int, events: list[Event]) -> None:
    """In any order of events: one process at a time, bounded memory, a deadline when waiting."""
    source = random.Random(seed)
    now, state, running = 0.0, STOPPED, False
    for event in events:
        if event in (Event.EXITED, Event.READY, Event.BEAT) and not running:
            continue
        now += source.random()
        if event is Event.EXITED:
            running = False
        decision = decide(state, event, now, SETTINGS, exit_code=1, jitter=source.uniform(-1, 1))
        if event is Event.SUCCEEDED and decision.state is not state:
            running = True  # the one that has taken the role
        for action in decision.actions:
            if action is Action.SPAWN:
                assert not running
                running = True
        state = decision.state
        assert len(state.crashes) <= SETTINGS.crash_limit
        assert (state.deadline is None) == (state.phase in (Phase.STOPPED, Phase.FATAL))
        alive = {Phase.STARTING, Phase.READY, Phase.ABORTING, Phase.STOPPING}
        assert running == (state.phase in alive)


@pytest.mark.parametrize(
    ("phase", "restarts"),
    [(Phase.STARTING, 4), (Phase.READY, 4), (Phase.ABORTING, 5), (Phase.BACKOFF, 5)],
)
def test_a_successor_that_serves_makes_the_role_ready(phase: Phase, restarts: int) -> None:
    """It counts as a restart only where the one before had crashed, or hung."""
    settings = SupervisorSettings()
    state = State(phase=phase, wanted=True, deadline=3.0, unstable_starts=2, restarts=4)
    after = decide(state, Event.SUCCEEDED, 10.0, settings)
    assert after.actions == ()
    assert (after.state.phase, after.state.ready_at) == (Phase.READY, 10.0)
    assert after.state.restarts == restarts
    assert after.state.deadline == 10.0 + settings.hang_timeout_s
    assert after.state.unstable_starts == 2, "it has not been stable yet"


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.STOPPING, Phase.FATAL])
def test_a_successor_of_what_is_over_changes_nothing(phase: Phase) -> None:
    state = State(phase=phase, wanted=phase is Phase.STOPPING)
    assert decide(state, Event.SUCCEEDED, 10.0, SupervisorSettings()).state == state


def test_an_excess_is_a_drain_whose_end_counts_as_a_crash() -> None:
    settings = SupervisorSettings()
    state = State(phase=Phase.READY, wanted=True, ready_at=0.0, deadline=101.0)
    draining = decide(state, Event.EXCEEDED, 100.0, settings)
    assert draining.actions == (Action.TERM,)
    ended = decide(draining.state, Event.EXITED, 101.0, settings, exit_code=0)
    assert ended.actions == (Action.SPAWN,), "it had been stable: at once"
    assert ended.state.crashes == (101.0,)
    assert ended.state.cause == "over its ceiling"
    young = replace(state, ready_at=99.0)
    again = decide(
        decide(young, Event.EXCEEDED, 100.0, settings).state,
        Event.EXITED,
        100.5,
        settings,
        exit_code=0,
    )
    assert again.state.phase is Phase.BACKOFF, "one that is soon over it again is waited for"


def test_an_operators_restart_of_one_over_its_ceiling_is_a_restart() -> None:
    settings = SupervisorSettings()
    state = State(phase=Phase.READY, wanted=True, ready_at=99.0, deadline=101.0)
    draining = decide(state, Event.EXCEEDED, 100.0, settings).state
    asked = decide(draining, Event.RESTART, 100.1, settings).state
    assert decide(asked, Event.EXITED, 100.2, settings, exit_code=0).actions == (Action.SPAWN,)
