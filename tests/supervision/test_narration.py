"""What is told of a process, for each way there is."""

from __future__ import annotations

import pytest

from bus.supervision.narration import narrated
from bus.supervision.policy import EXCEEDED, Event, Phase, State


@pytest.mark.parametrize(
    ("before", "after", "event", "told"),
    [
        (
            State(Phase.STOPPING, cause="restarted"),
            State(Phase.STARTING),
            Event.EXITED,
            ("restarting", "starting anew, as asked for"),
        ),
        (
            State(Phase.STOPPING, cause=EXCEEDED),
            State(Phase.STARTING),
            Event.EXITED,
            ("restarting", "restarting now"),
        ),
        (
            State(Phase.READY),
            State(Phase.STARTING),
            Event.EXITED,
            ("restarting", "restarting now"),
        ),
        (
            State(Phase.READY),
            State(Phase.BACKOFF, deadline=12.5),
            Event.EXITED,
            ("restarting", "restarting in 2.5 s"),
        ),
        (State(Phase.STOPPING), State(Phase.STOPPED), Event.EXITED, ("stopped", "stopped")),
        (State(Phase.STOPPED), State(Phase.STARTING), Event.START, None),
        (State(Phase.READY), State(Phase.READY), Event.BEAT, None),
        (State(Phase.READY), State(Phase.STOPPING), Event.STOP, None),
    ],
)
def test_it_is_told_what_happened_and_who_asked(
    before: State, after: State, event: Event, told: tuple[str, str] | None
) -> None:
    assert narrated(before, after, event, 10.0, failing=False) == told


def test_who_fails_again_and_again_is_told_to() -> None:
    waiting = State(Phase.BACKOFF, deadline=20.0)
    told = narrated(State(Phase.READY), waiting, Event.EXITED, 10.0, failing=True)
    assert told == ("failing", "failing, next try in 10.0 s")
