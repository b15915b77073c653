"""A real supervisor over real, trivial processes, and a count of whatever it leaves behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from bus.supervision.cli import main
from bus.supervision.control_client import RefusedError, ask
from bus.testing import wait_until

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("driver.py")
MARK = "MDBUS_TEST_MARK"
QUICK = (
    "bridge.port=0",
    "simulator.ports.binance=0",
    "simulator.ports.finnhub=0",
    "supervisor.hang_timeout_s=2.0",
    "supervisor.stop_grace_s=1.0",
    "supervisor.stable_after_s=0.2",
)


class Driven:
    """One supervisor under test. ``plan`` rows are (name, behaviour, layer[, slot[, feed]])."""

    def __init__(self, run_dir: Path, plan: list[tuple[Any, ...]], *settings: str) -> None:
        self.run_dir = run_dir
        (run_dir / "supervisor.pid").touch()  # as after a former run: tests keep files there too
        self.plan = [(*row, *(None, "")[len(row) - 3 :]) for row in plan]
        self.settings = (f"run_dir={run_dir}", *QUICK, *settings)
        self._out = run_dir / f"events-{time.monotonic_ns()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Driven:
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), json.dumps(self.plan), *self.settings],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(self.run_dir)},
                start_new_session=True,
            )
        return self

    def up(self, timeout_s: float = 20.0) -> Driven:
        """Start, and wait until the last layer was started."""
        self.start()
        wait_until(lambda: self._state() == "running", timeout_s, f"up: {self.output()}")
        return self

    def _state(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        try:
            return str(self.status()["state"])
        except RefusedError:
            return ""

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = ask(self.run_dir, "status")
        return answer

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.status()["processes"] if row["name"] == name)

    def pid(self, name: str) -> int:
        pid = self.row(name)["pid"]
        assert isinstance(pid, int)
        return pid

    def wait_state(self, name: str, *states: str, timeout_s: float = 10.0) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            row = self.row(name)
            return row if row["state"] in states else None

        row = wait_until(found, timeout_s, f"{name} {states}: {self.output()}")
        assert row is not None
        return row

    def wait_new_pid(self, name: str, old: int, timeout_s: float = 10.0) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            row = self.row(name)
            return row if row["state"] == "ready" and row["pid"] not in (old, None) else None

        row = wait_until(found, timeout_s, f"{name} ready anew: {self.output()}")
        assert row is not None
        return row

    def output(self) -> str:
        return self._out.read_text(errors="replace")

    def all_events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def events_of(self, process: str) -> list[dict[str, Any]]:
        return [event for event in self.all_events() if event["process"] == process]

    def events(self, kind: str, process: str | None = None) -> list[dict[str, Any]]:
        return [
            e for e in self.all_events() if e["kind"] == kind and process in (None, e["process"])
        ]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_end(self, timeout_s: float = 15.0) -> int:
        assert self.process is not None
        process = self.process
        wait_until(lambda: process.poll() is not None, timeout_s, f"end: {self.output()}")
        return int(process.returncode)

    def living(self) -> list[int]:
        """Every process of this test that still lives, found by its environment."""
        return living(self.run_dir)


def living(run_dir: Path) -> list[int]:
    """The pids whose environment carries this test's mark, zombies left out."""
    mark = f"{MARK}={run_dir}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def drive(run_dir: Path) -> Iterator[Callable[..., Driven]]:
    """A function that makes a `Driven`; whatever is left at the end is killed, and is an error."""
    made: list[Driven] = []

    def make(*plan: tuple[Any, ...], settings: tuple[str, ...] = ()) -> Driven:
        made.append(Driven(run_dir, list(plan), *settings))
        return made[-1]

    yield make
    for driven in made:
        if driven.process is not None and driven.process.poll() is None:
            driven.signal(signal.SIGTERM)
            driven.wait_end()
    try:
        wait_until(lambda: not living(run_dir), 5.0, "nothing left behind")
    finally:
        for pid in living(run_dir):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def played_bus() -> Iterator[Driven]:
    """Two feeds and two bridges, played by trivial children that take commands.

    Shared by the tests that ask, and by those that put back what they changed.
    """
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    driven = Driven(run_dir, [], "bridge.workers=2", "supervisor.log_max_bytes=50000").up()
    yield driven
    driven.signal(signal.SIGTERM)
    assert driven.wait_end() == 0
    assert not driven.living()
    shutil.rmtree(run_dir)


class WholeBus:
    """The bus's own processes, started by the command line itself."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        (run_dir / "supervisor.pid").touch()  # as after a former run: tests keep files there too
        self.settings = [word for setting in QUICK[:3] for word in ("--set", setting)]

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this very process: what it prints and its exit code."""
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            code = main([*words, "--run-dir", str(self.run_dir)])
        return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())

    def run(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as a program of its own."""
        return subprocess.run(
            [sys.executable, str(ROOT / "supervisor.py"), *words],
            cwd=self.run_dir,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, MARK: str(self.run_dir), "MDBUS_RUN_DIR": str(self.run_dir)}

    def json(self, *words: str) -> Any:
        done = self.ask(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def living(self) -> list[int]:
        return living(self.run_dir)


@pytest.fixture(scope="session")
def whole_bus() -> Iterator[WholeBus]:
    """A running bus, shared by the tests that only ask it things or put it back as it was."""
    bus = WholeBus(Path(tempfile.mkdtemp(prefix="mdb-")))
    done = bus.run("up", "--detach", "--workers", "1", *bus.settings)
    assert done.returncode == 0, done.stdout + done.stderr
    yield bus
    done = bus.run("down")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not bus.living(), 5.0, "nothing left behind")
    shutil.rmtree(bus.run_dir)
