"""The supervisor's end of the template over real processes, and over a copy of the bus's code."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.supervision.control_client import RefusedError, ask
from bus.supervision.template import Forked, Template
from bus.testing import eventually, wait_until
from tests.supervision.conftest import MARK, QUICK, ROOT, living
from tests.supervision.kept import Surroundings, kept


class Kept:
    """A template under test."""

    def __init__(self, template: Template, around: Surroundings) -> None:
        self.template = template
        self.noted, self.lifeline, self.log = around.noted, around.lifeline, around.log

    async def ready(self, *modules: str) -> Template:
        self.template.keep(modules, self.lifeline)
        assert await self.template.wait(20), self.log.read_text()
        return self.template


@asynccontextmanager
async def keeping(path: Path) -> AsyncIterator[Kept]:
    async with kept(path, Template, Template.end) as made:
        yield Kept(*made)


async def ended(forked: Forked) -> None:
    forked.channel.close()
    await eventually(lambda: forked.child.exit_code is not None)


async def test_it_is_kept_and_forks_until_it_is_ended(tmp_path: Path) -> None:
    async with keeping(tmp_path) as made:
        assert made.template.fork() is None, "there is none yet"
        template = await made.ready("bus.clock")
        pid = template.pid
        assert made.noted == [pid]
        template.keep(["bus.clock"], made.lifeline)
        assert template.pid == pid, "one is enough"
        forked = template.fork()
        assert forked is not None
        assert template.forks == 1
        assert template.is_current()
        await ended(forked)
        assert forked.child.exit_code == 0
        template.end()
        assert (template.pid, template.ready, made.noted) == (None, False, [])
        assert template.pids() == {pid}, "until it has ended, it is no stranger"
        assert template.fork() is None
        await eventually(lambda: not template.pids())


async def test_one_of_other_modules_takes_its_place(tmp_path: Path) -> None:
    async with keeping(tmp_path) as made:
        first = (await made.ready("bus.clock")).pid
        second = (await made.ready("bus.clock", "bus.errors")).pid
        assert first != second
        assert made.noted == [second]


async def test_one_that_is_killed_is_not_started_again_at_once(tmp_path: Path) -> None:
    async with keeping(tmp_path) as made:
        template = await made.ready("bus.clock")
        assert template.pid is not None
        os.kill(template.pid, signal.SIGKILL)
        await eventually(lambda: template.pid is None)
        assert (template.ready, made.noted, template.pids()) == (False, [], set())
        template.keep(["bus.clock"], made.lifeline)
        assert not template.pids()
        assert not await template.wait(20), "nobody waits for one that failed"


async def test_one_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    async with keeping(tmp_path) as made:
        template = await made.ready("bus.clock")
        assert template.pid is not None
        os.kill(template.pid, signal.SIGSTOP)
        assert template.fork() is None
        assert not made.noted
        await eventually(lambda: not template.pids(), what="it has been killed")


async def test_one_that_never_comes_to_an_end_of_importing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "endless.py").write_text("import signal\nsignal.pause()\n")
    async with keeping(tmp_path) as made:
        made.template.keep(["endless"], made.lifeline)
        made.template.keep(["endless"], made.lifeline)
        assert made.noted, "it has time"
        monkeypatch.setattr("bus.supervision.template.IMPORT_WAIT_S", 0.0)
        made.template.keep(["bus.clock", "endless"], made.lifeline)
        pid = made.template.pid
        assert pid is not None
        made.template.keep(["bus.clock", "endless"], made.lifeline)
        assert not made.noted
        assert not await made.template.wait(1), "nobody waits for it"


async def test_one_that_cannot_fork_is_ended(tmp_path: Path) -> None:
    async with keeping(tmp_path) as made:
        template = await made.ready("bus.clock")
        assert template.pid is not None
        resource.prlimit(template.pid, resource.RLIMIT_NOFILE, (3, 3))
        assert template.fork() is None, "it cannot even be handed a descriptor"
        await eventually(lambda: not template.pids())


async def test_it_is_not_current_once_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = tmp_path / "thing.py"
    code.write_text("A = 1\n")
    os.utime(code, (1_000_000_000, 1_000_000_000))
    async with keeping(tmp_path) as made:
        template = await made.ready("thing")
        assert template.is_current()
        code.write_text("A = 2\n")
        assert not template.is_current()
        assert template.pid is not None, "it can go on forking what crashed"


class SmallBus:
    """A bus without feeds, run from ``code``."""

    def __init__(self, run_dir: Path, code: Path = ROOT) -> None:
        self.run_dir = run_dir
        self.code = code
        (run_dir / "supervisor.pid").touch()
        settings = (*QUICK[:3], "feeds.binance.enabled=false", "feeds.finnhub.enabled=false")
        words = ["supervisor.stable_after_s=0.2", "bridge.workers=1", *settings]
        self.up = [word for setting in words for word in ("--set", setting)]

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bus.supervision", *words],
            env={
                **os.environ,
                "PYTHONPATH": str(self.code),
                "MDBUS_RUN_DIR": str(self.run_dir),
                MARK: str(self.run_dir),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = ask(self.run_dir, "status")
        return answer

    def broker(self) -> dict[str, Any]:
        return next(row for row in self.status()["processes"] if row["name"] == "broker")

    def install(self, words: str) -> None:
        """A new version of the broker, which says ``words`` when it starts."""
        door = self.code / "bus" / "broker" / "__main__.py"
        text = (ROOT / "bus" / "broker" / "__main__.py").read_text()
        begin = '    """Serve until asked to stop."""\n'
        assert begin in text
        door.write_text(text.replace(begin, f"{begin}    _log.info({words!r})\n"))

    def said(self, words: str) -> bool:
        return words in (self.run_dir / "log" / "broker.log").read_text()

    def serves_anew(self, pid: int) -> None:
        def anew() -> bool:
            row = self.broker()
            return row["state"] == "ready" and row["pid"] not in (pid, None)

        wait_until(anew, 20, "the broker serves anew")


@pytest.fixture
def copied_bus(tmp_path: Path, run_dir: Path) -> Iterator[SmallBus]:
    """A bus that runs from a copy of the code, which a test may change."""
    code = tmp_path / "installed"
    shutil.copytree(ROOT / "bus", code / "bus", ignore=shutil.ignore_patterns("__pycache__"))
    bus = SmallBus(run_dir, code)
    bus.run("up", "--detach", *bus.up)
    yield bus
    try:
        bus.run("down")
        wait_until(lambda: not living(run_dir), 10, "nothing left behind")
    finally:
        for pid in living(run_dir):
            os.kill(pid, signal.SIGKILL)


def test_a_crash_runs_the_same_code_again_and_a_restart_what_is_installed(
    copied_bus: SmallBus,
) -> None:
    bus = copied_bus
    wait_until(lambda: bus.status()["template"]["ready"], 20)
    first = bus.broker()["pid"]
    assert b"bus.broker" in Path(f"/proc/{first}/cmdline").read_bytes().split(b"\0")
    old = bus.status()["template"]["pid"]
    bus.install("the second version")
    os.kill(first, signal.SIGKILL)
    bus.serves_anew(first)
    assert not bus.said("the second version")
    second = bus.broker()["pid"]
    bus.run("restart", "broker")
    assert bus.broker()["pid"] != second
    assert bus.said("the second version")
    assert bus.status()["template"]["pid"] != old
    third = bus.broker()["pid"]
    os.kill(third, signal.SIGKILL)
    bus.serves_anew(third)
    log = (bus.run_dir / "log" / "broker.log").read_text()
    assert log.count("the second version") == 2, "from then on crashes run the new code"
    forks, template = bus.status()["template"]["forks"], bus.status()["template"]["pid"]
    bus.run("restart", "broker")
    now = bus.status()["template"]
    assert now["pid"] == template, "nothing has changed: nothing is imported anew"
    assert now["forks"] >= forks


def test_code_that_does_not_load_is_the_fault_of_the_process_that_needs_it(
    copied_bus: SmallBus,
) -> None:
    bus = copied_bus
    wait_until(lambda: bus.status()["template"]["ready"], 20)
    door = bus.code / "bus" / "broker" / "__main__.py"
    door.write_text("this is no Python\n")
    with pytest.raises(RefusedError):
        ask(bus.run_dir, "restart", names=["broker"], timeout_s=3, wait_s=30)
    assert bus.said("SyntaxError")
    before = bus.status()["processes"]
    rows = {row["name"]: row["state"] for row in before if row["name"] != "broker"}
    assert set(rows.values()) == {"ready"}, "nobody else is touched"
    bus.install("mended")
    bus.run("restart", "broker")
    assert bus.said("mended")


def test_killing_the_supervisor_ends_template_spares_and_all(run_dir: Path) -> None:
    bus = SmallBus(run_dir)
    bus.run("up", "--detach", *bus.up)
    try:
        wait_until(lambda: bus.status()["spares"]["ready"] == 1, 20)
        status = bus.status()
        pids = {row["pid"] for row in status["processes"]} | {status["template"]["pid"]}
        alive = set(living(run_dir))
        assert pids < alive
        more = {pid: Path(f"/proc/{pid}/cmdline").read_bytes()[-200:] for pid in alive - pids}
        assert len(more) == 2, more
        os.kill(status["pid"], signal.SIGKILL)
        wait_until(lambda: not living(run_dir), 10, "everything has ended")
        bus.run("up", "--detach", *bus.up)
        names = [row["name"] for row in bus.status()["processes"] if row["state"] == "ready"]
        assert names == [row["name"] for row in status["processes"]]
        assert len(living(run_dir)) <= len(alive)
        bus.run("down")
        wait_until(lambda: not living(run_dir), 10, "nothing left behind")
    finally:
        for pid in living(run_dir):
            os.kill(pid, signal.SIGKILL)


def test_without_a_template_each_process_is_an_interpreter_of_its_own(
    run_dir: Path,
) -> None:
    bus = SmallBus(run_dir)
    bus.run("up", "--detach", *bus.up, "--set", "supervisor.template=false")
    try:
        status = bus.status()
        assert status["template"] == {"pid": None, "ready": False, "forks": 0}
        assert status["spares"]["wanted"] == 0
        command = Path(f"/proc/{bus.broker()['pid']}/cmdline").read_bytes().split(b"\0")
        assert b"bus.broker" in command
        events = (run_dir / "log" / "events.jsonl").read_text().splitlines()
        assert "begun" in {json.loads(line)["kind"] for line in events}
        bus.run("down")
    finally:
        for pid in living(run_dir):
            os.kill(pid, signal.SIGKILL)
