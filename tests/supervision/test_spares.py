"""The pool of spares over real processes: filled, taken from, and empty at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bus.runtime.environment import Spawned
from bus.supervision.control_client import ask
from bus.supervision.spares import Spares
from bus.testing import eventually, wait_until
from tests.stalls import Stalls
from tests.supervision.conftest import WholeBus

RESTART_S = 0.2  # with a spare: a tenth of this when left alone
SPAWNED = Spawned(link="", generation=1, token="t", parent_pid=os.getpid(), lifeline_fd=0)


@contextmanager
def pool(log: Path, *modules: str) -> Iterator[tuple[Spares, list[int]]]:
    """A pool, the pids it noted, and a lifeline."""
    noted: list[int] = []
    spares = Spares(log, modules, noted=noted.append, forgotten=noted.remove)
    try:
        yield spares, noted
    finally:
        spares.close()


async def test_the_pool_is_filled_and_cut_to_what_is_wanted(tmp_path: Path) -> None:
    lifeline, end = os.pipe()
    with pool(tmp_path / "log", "bus.clock") as (spares, noted):
        for _ in range(3):
            spares.keep(2, lifeline)
        assert len(spares.children()) == len(noted) == 2
        await eventually(lambda: spares.ready == 2, 20)
        spares.keep(0, lifeline)
        await eventually(lambda: not noted, what="both have ended and are forgotten")
        assert spares.ready == 0
        spares.keep(1, lifeline)
        (child,) = spares.children()
        spares.close()
        assert not noted, "nobody need wait for its end"
        await eventually(lambda: child.exit_code is not None)
    os.close(lifeline)
    os.close(end)


async def test_a_role_is_refused_while_none_is_ready(tmp_path: Path) -> None:
    with pool(tmp_path / "log") as (spares, _):
        assert spares.take("bus.broker", [], tmp_path / "x", SPAWNED, None, lambda _: None) is None


async def test_a_taken_spare_belongs_to_its_role(tmp_path: Path) -> None:
    lifeline, end = os.pipe()
    exits: list[int] = []
    log = tmp_path / "broker.log"
    with pool(tmp_path / "log", "bus.broker.__main__") as (spares, noted):
        spares.keep(1, lifeline)
        await eventually(lambda: spares.ready == 1, 20)
        arguments = ["--config", str(tmp_path / "none.toml"), "--name", "broker"]
        child = spares.take("bus.broker", arguments, log, SPAWNED, None, exits.append)
        assert child is not None
        assert (spares.ready, spares.children(), noted, spares.taken) == (0, [], [], 1)
        await eventually(lambda: exits == [78], 20)
        assert "no such file" in log.read_text()
    os.close(lifeline)
    os.close(end)


async def test_one_that_cannot_import_is_tried_again_later_only(tmp_path: Path) -> None:
    lifeline, end = os.pipe()
    with pool(tmp_path / "log", "bus.no_such_module") as (spares, noted):
        spares.keep(1, lifeline)
        assert len(noted) == 1
        await eventually(lambda: not noted, 20)
        spares.keep(1, lifeline)
        assert not spares.children(), "not at once"
        assert "no_such_module" in (tmp_path / "log").read_text()
    assert asyncio.get_running_loop().is_running()
    os.close(lifeline)
    os.close(end)


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
