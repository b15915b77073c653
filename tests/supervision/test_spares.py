"""The pool of spares over real processes: filled, taken from, and empty at the end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bus.runtime.environment import Spawned
from bus.supervision.control_client import ask
from bus.supervision.spares import Spares
from bus.supervision.spawn import Child
from bus.testing import eventually, wait_until
from tests.stalls import Stalls
from tests.supervision.conftest import WholeBus
from tests.supervision.kept import Surroundings, kept

RESTART_S = 0.2  # with a spare: a tenth of this when left alone
SPAWNED = Spawned(link_fd=0, pulse_fd=0, generation=1, parent_pid=os.getpid(), lifeline_fd=0)


class Pool:
    """A pool under test."""

    def __init__(self, spares: Spares, around: Surroundings) -> None:
        self.spares = spares
        self.noted, self.lifeline = around.noted, around.lifeline

    async def filled(self, wanted: int, *modules: str) -> Spares:
        """The pool with so many spares."""

        def is_full() -> bool:
            self.spares.keep(modules, wanted, self.lifeline)
            return self.spares.ready == wanted

        await eventually(is_full, 20)
        return self.spares


@asynccontextmanager
async def pool(path: Path) -> AsyncIterator[Pool]:
    async with kept(path, Spares, Spares.close) as made:
        yield Pool(*made)


def broker_as(path: Path, spares: Spares, exits: list[int]) -> Child | None:
    """The broker with a settings file that there is not."""
    arguments = ["--config", str(path / "none.toml"), "--name", "broker"]
    return spares.take("bus.broker", arguments, path / "broker.log", SPAWNED, exits.append)


async def test_the_pool_is_filled_and_cut_to_what_is_wanted(tmp_path: Path) -> None:
    async with pool(tmp_path) as made:
        spares = await made.filled(2, "bus.clock")
        template = spares.template.pid
        assert len(made.noted) == len(spares.pids()) == 3
        spares.keep(["bus.clock"], 0, made.lifeline)
        assert (spares.ready, made.noted) == (0, [template])
        await eventually(lambda: spares.pids() == {template}, what="both have ended")
        await made.filled(1, "bus.clock")
        spares.close()
        assert not made.noted, "nobody need wait for its end"
        await eventually(lambda: not spares.pids())


async def test_there_is_nothing_to_take_without_a_template(tmp_path: Path) -> None:
    async with pool(tmp_path) as made:
        assert broker_as(tmp_path, made.spares, []) is None


async def test_a_taken_spare_belongs_to_its_role(tmp_path: Path) -> None:
    exits: list[int] = []
    async with pool(tmp_path) as made:
        spares = await made.filled(1, "bus.broker.__main__")
        child = broker_as(tmp_path, spares, exits)
        assert child is not None
        assert (spares.ready, made.noted, spares.taken) == (0, [spares.template.pid], 1)
        assert child.pid not in spares.pids()
        await eventually(lambda: exits == [78], 20)
        assert "no such file" in (tmp_path / "broker.log").read_text()


async def test_one_is_made_at_once_when_none_waits(tmp_path: Path) -> None:
    exits: list[int] = []
    async with pool(tmp_path) as made:
        spares = await made.filled(0, "bus.broker.__main__")
        assert await spares.template.wait(20)
        assert broker_as(tmp_path, spares, exits) is not None
        assert (spares.taken, spares.template.forks) == (0, 1)
        await eventually(lambda: exits == [78], 20)


async def test_a_spare_that_has_died_is_replaced(tmp_path: Path) -> None:
    async with pool(tmp_path) as made:
        spares = await made.filled(1, "bus.clock")
        (pid,) = spares.pids() - {spares.template.pid}
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: spares.ready == 0)
        assert pid not in made.noted
        await made.filled(1, "bus.clock")


async def test_a_spare_that_cannot_be_told_is_left_for_another(tmp_path: Path) -> None:
    exits: list[int] = []
    async with pool(tmp_path) as made:
        spares = await made.filled(1, "bus.broker.__main__")
        (pid,) = spares.pids() - {spares.template.pid}
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _is_zombie(pid), 10)  # the loop has not heard of it
        child = broker_as(tmp_path, spares, exits)
        assert child is not None
        assert child.pid != pid
        await eventually(lambda: exits == [78], 20)
        assert not _exists(pid), "and it was reaped"


def _is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_old_code_goes_and_waits_for_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = tmp_path / "thing.py"
    code.write_text("A = 1\n")
    os.utime(code, (1_000_000_000, 1_000_000_000))
    async with pool(tmp_path) as made:
        spares = await made.filled(1, "thing")
        before = spares.pids()
        await spares.renew(made.lifeline)
        assert spares.pids() == before, "nothing has changed"
        code.write_text("A = 2\n")
        await spares.renew(made.lifeline)
        assert (spares.ready, spares.template.ready) == (0, True)
        await eventually(lambda: len(spares.pids()) == 1)
        assert not spares.pids() & before


async def test_spares_of_a_template_that_is_gone_are_not_trusted(tmp_path: Path) -> None:
    async with pool(tmp_path) as made:
        spares = await made.filled(1, "bus.clock")
        assert spares.template.pid is not None
        os.kill(spares.template.pid, signal.SIGKILL)
        await eventually(lambda: spares.template.pid is None)
        assert spares.ready == 1, "for a crash it will do"
        await spares.renew(made.lifeline)
        assert spares.ready == 0


def last_ready_ns(run_dir: Path, name: str) -> int:
    """When ``name`` last said that it serves, as the events tell it."""
    events = map(json.loads, (run_dir / "log" / "events.jsonl").read_text().splitlines())
    return max(int(e["at_ns"]) for e in events if (e["process"], e["kind"]) == (name, "ready"))


def test_a_crashed_process_of_the_bus_is_replaced_by_the_spare(whole_bus: WholeBus) -> None:
    def spare_ready() -> bool:
        return bool(ask(whole_bus.run_dir, "status")["spares"]["ready"])

    wait_until(spare_ready, 20, "a spare is there")
    status = ask(whole_bus.run_dir, "status")
    taken = status["spares"]["taken"]
    before = next(row for row in status["processes"] if row["name"] == "bridge.1")
    stalls = Stalls().start()
    killed_s, killed_ns = time.monotonic(), time.time_ns()
    os.kill(before["pid"], signal.SIGKILL)

    def replaced() -> dict[str, object] | None:
        rows = ask(whole_bus.run_dir, "status")["processes"]
        row = next(row for row in rows if row["name"] == "bridge.1")
        return row if row["state"] == "ready" and row["pid"] != before["pid"] else None

    row = wait_until(replaced, 20, "bridge.1 serves anew")
    assert row is not None
    stalls.stop()
    took_s = (last_ready_ns(whole_bus.run_dir, "bridge.1") - killed_ns) / 1e9
    assert took_s < RESTART_S + stalls.allowance_s(killed_s, killed_s + took_s)
    assert ask(whole_bus.run_dir, "status")["spares"]["taken"] == taken + 1
    assert psutil.Process(int(str(row["pid"]))).name() == "bridge.1"
    wait_until(spare_ready, 20, "the next spare is there")
