"""Replacing processes over real ones: the port is served all the time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bus.supervision.control_client import RefusedError, ask
from bus.supervision.generation import Sender
from bus.supervision.replacement import DISMISSED, has_left, replace_all
from bus.supervision.unit import Unit
from bus.testing import eventually
from bus.wire.link import Ready
from tests.supervision.conftest import Driven
from tests.supervision.test_supervisor import driven_bus
from tests.supervision.test_unit import SETTINGS, SPEC, PretendedGround


@pytest.fixture(scope="module")
def bus() -> Iterator[Driven]:
    """Two listening processes, and one whose second generation fails."""
    plan = [
        *(("bridge.1", "echo", 0, 0), ("bridge.2", "echo", 0, 1)),
        *(("x.1", "once", 0, 2), ("x.2", "echo", 0, 3)),
    ]
    with driven_bus(plan) as driven:
        yield driven.up()


def who(port: int) -> int:
    """The pid of the stand-in that answers; 0 when it was one that left before it could.

    Every listening socket has a process that accepts from it: nobody is left waiting.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            return int(connection.recv(100) or 0)
        except ConnectionResetError:
            return 0


def test_the_new_one_serves_before_the_old_one_is_told_to_stop(bus: Driven) -> None:
    old = bus.pid("bridge.1")
    ask(bus.run_dir, "restart", names=["bridge.1"], wait_s=20)
    assert bus.pid("bridge.1") != old
    assert old not in bus.living()
    kinds = [e["kind"] for e in bus.events_of("bridge.1")]
    assert kinds[kinds.index("ready") + 1 :][:2] == ["starting", "ready"]
    row = bus.row("bridge.1")
    assert (row["generation"], row["restarts"]) == (2, 0), "nobody counts what was asked for"
    left = [e["text"] for e in bus.events_of("bridge.1") if e["kind"] == "stopped"]
    assert len(left) == 1
    assert left[0].startswith("generation 1 has drained and left after")


def test_replacing_one_after_the_other_is_told_by_the_generations(bus: Driven) -> None:
    before = {name: bus.row(name)["generation"] for name in ("bridge.1", "bridge.2")}
    ask(bus.run_dir, "restart", names=["bridge.2", "bridge.1"], wait_s=20)
    assert all(bus.row(name)["generation"] == number + 1 for name, number in before.items())
    started = [e for e in bus.all_events() if e["kind"] == "starting"][-2:]
    assert [e["process"] for e in started] == ["bridge.2", "bridge.1"]
    port = int(bus.status()["endpoints"]["http"].rpartition(":")[2])
    serving = {bus.pid(name) for name in ("bridge.1", "bridge.2", "x.1", "x.2")}
    answers = [who(port) for _ in range(100)]
    assert set(answers) == serving, "all slots are served, and by nobody else: old ones have left"


def test_a_round_ends_with_the_first_that_does_not_come_to_serve(bus: Driven) -> None:
    before = {name: bus.pid(name) for name in ("x.1", "x.2")}
    with pytest.raises(RefusedError) as refused:
        ask(bus.run_dir, "restart", names=["x.1", "x.2"], wait_s=20)
    assert refused.value.exit_code == 1
    assert "the old one goes on" in str(refused.value)
    assert "x.2: left as it was" in str(refused.value)
    assert {name: bus.pid(name) for name in before} == before
    assert all(bus.row(name)["state"] == "ready" for name in before)


async def test_the_old_ones_drain_side_by_side() -> None:
    """A client of the first finds no second old one to be sent away from once more."""
    ground = PretendedGround()
    units = [
        Unit(replace(SPEC, name=f"x.{number}", slot=number), SETTINGS, ground) for number in (0, 1)
    ]
    for unit in units:
        unit.start()
        assert unit.heard(Sender(unit.name, 1), Ready({}))
    rolling = asyncio.create_task(replace_all(units, 20))
    for number, unit in enumerate(units):
        await eventually(lambda: len(ground.children) == 3 + number)  # noqa: B023
        assert [len(child.signals) for child in ground.children] == [1] * number + [0] * 3
        assert unit.heard(Sender(unit.name, 2), Ready({}))
    await eventually(lambda: ground.children[1].signals)
    assert not rolling.done(), "neither has gone"
    ground.children[1].end(0)
    ground.children[0].end(0)
    assert await rolling == {}


def test_a_kind_stands_for_all_its_processes(
    played_bus: Driven, wait_for_pids: Callable[..., None]
) -> None:
    before = {name: played_bus.pid(name) for name in ("bridge.1", "bridge.2")}
    ask(played_bus.run_dir, "restart", names=["bridge"], wait_s=30)
    assert not set(before.values()) & {played_bus.pid(name) for name in before}
    wait_for_pids(*before.values())


async def test_who_was_taken_out_of_the_bus_meanwhile_is_not_started_again() -> None:
    ground = PretendedGround()
    unit = Unit(SPEC, SETTINGS, ground)
    unit.is_dismissed = True
    assert await replace_all([unit], 20) == {SPEC.name: DISMISSED}
    assert not ground.children


async def test_a_process_has_left_when_its_earlier_generations_have() -> None:
    ground = PretendedGround()
    unit = Unit(replace(SPEC, slot=0), SETTINGS, ground)
    unit.start()
    unit.heard(Sender(unit.name, 1), Ready({}))
    taking_over = asyncio.create_task(unit.succeed(20))
    await eventually(lambda: len(ground.children) == 2)
    unit.heard(Sender(unit.name, 2), Ready({}))
    assert await taking_over == ""
    unit.stop()
    ground.children[1].end(0)
    assert not has_left(unit), "the first still drains, and would be killed as a stranger"
    ground.children[0].end(0)
    assert has_left(unit)


@pytest.fixture
def wait_for_pids() -> Callable[..., None]:
    """A function that checks that processes have ended and were reaped."""

    def gone(*pids: int) -> None:
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    return gone
