"""What an operator is told of a process, in words. Pure."""

from __future__ import annotations

from bus.supervision.policy import EXCEEDED, Event, Phase, State


def narrated(
    before: State, after: State, event: Event, now: float, *, failing: bool
) -> tuple[str, str] | None:
    """The kind and the text of the event to tell when ``event`` led from one state to the other at
    monotonic second ``now``; None when there is nothing to tell.

    What was asked for by an operator, or by new settings, says so.
    """
    if after.phase is before.phase and after.phase is not Phase.STARTING:
        return None
    match after.phase:
        case Phase.STARTING if event is Event.EXITED:
            asked = before.phase is Phase.STOPPING and before.cause != EXCEEDED
            return "restarting", "starting anew, as asked for" if asked else "restarting now"
        case Phase.BACKOFF if after.deadline is not None:
            how = "failing, next try" if failing else "restarting"
            kind = "failing" if failing else "restarting"
            return kind, f"{how} in {after.deadline - now:.1f} s"
        case Phase.ABORTING:
            return "hung", f"{after.cause}; taking its stacks and replacing it"
        case Phase.FATAL:
            return "fatal", "refused its settings; not started again until you say so"
        case Phase.STOPPED if event is Event.EXITED:
            return "stopped", "stopped"
    return None
