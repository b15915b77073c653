"""The bridge's turns: one fault stops nothing else."""

from __future__ import annotations

import pytest

from bus.testing import eventually
from bus.wsbridge.turns import Job, Turns


class Connection:
    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.is_aborted = False
        self.is_done = False

    def act(self) -> None:
        if self.is_broken:
            raise RuntimeError("a fault of ours")
        self.is_done = True

    def abort(self) -> None:
        self.is_aborted = True


def test_one_connections_fault_costs_nobody_else_anything(
    capfd: pytest.CaptureFixture[str],
) -> None:
    turns = Turns([])
    first, broken, last = Connection(), Connection(is_broken=True), Connection()
    turns.each([first, broken, last], Connection.act)
    assert (first.is_done, last.is_done) == (True, True)
    assert [one.is_aborted for one in (first, broken, last)] == [False, True, False]
    assert turns.faults == 1
    assert "a fault of ours" in capfd.readouterr().err
    for _ in range(9):
        turns.each([broken], Connection.act)
    assert turns.faults == 10
    assert capfd.readouterr().err.count("connection cut off") == 3, "the 2nd, 4th and 8th"


async def test_a_job_that_fails_stops_neither_the_others_nor_the_next_turn(loop_kind: str) -> None:
    counts = {"every": 0, "third": 0, "broken": 0}

    def broken() -> None:
        counts["broken"] += 1
        raise ValueError("broken")

    def count(name: str) -> None:
        counts[name] += 1

    turns = Turns([Job(broken), Job(lambda: count("every")), Job(lambda: count("third"), 3)])
    turns.start()
    await eventually(lambda: counts["third"] == 2)
    assert counts["every"] == 6
    assert counts["broken"] == turns.faults == 6
    turns.close()
    assert turns.worst_lag_s >= 0
    turns.take_worst_lag_s()
    assert turns.worst_lag_s == 0
    assert turns._timer is not None
    assert turns._timer.cancelled()
