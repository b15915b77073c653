"""One connection's fault costs that connection only."""

from __future__ import annotations

import pytest

from bus.wsbridge.faults import Faults, is_told


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
    faults = Faults()
    first, broken, last = Connection(), Connection(is_broken=True), Connection()
    faults.each([first, broken, last], Connection.act)
    assert (first.is_done, last.is_done) == (True, True)
    assert [one.is_aborted for one in (first, broken, last)] == [False, True, False]
    assert faults.count == 1
    assert "a fault of ours" in capfd.readouterr().err
    for _ in range(9):
        faults.each([broken], Connection.act)
    assert faults.count == 10
    assert capfd.readouterr().err.count("connection cut off") == 3, "the 2nd, 4th and 8th"


def test_of_many_equal_events_the_log_has_fewer_and_fewer() -> None:
    assert [count for count in range(1, 70) if is_told(count)] == [1, 2, 4, 8, 16, 32, 64]
