"""The bridge's turns: one fault stops nothing else."""

from __future__ import annotations

from bus.testing import eventually
from bus.wsbridge.faults import Faults
from bus.wsbridge.turns import Job, Turns


async def test_a_job_that_fails_stops_neither_the_others_nor_the_next_turn(loop_kind: str) -> None:
    counts = {"every": 0, "third": 0, "broken": 0}

    def broken() -> None:
        counts["broken"] += 1
        raise ValueError("broken")

    def count(name: str) -> None:
        counts[name] += 1

    faults = Faults()
    jobs = [Job(broken), Job(lambda: count("every")), Job(lambda: count("third"), 3)]
    turns = Turns(jobs, faults)
    turns.start()
    await eventually(lambda: counts["third"] == 2)
    assert counts["every"] == 6
    assert counts["broken"] == faults.count == 6
    turns.close()
    assert turns.worst_lag_s >= 0
    turns.take_worst_lag_s()
    assert turns.worst_lag_s == 0
    assert turns._timer is not None
    assert turns._timer.cancelled()
