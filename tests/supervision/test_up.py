"""up: in the foreground, in the background, and when it cannot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.supervision.lock import running_pid
from bus.supervision.up import _where
from bus.testing import wait_until
from tests.supervision.conftest import ROOT, WholeBus, living


@pytest.fixture
def bus(run_dir: Path) -> Iterator[WholeBus]:
    made = WholeBus(run_dir)
    yield made
    made.run("down")
    wait_until(lambda: not made.living(), 10.0, "nothing left behind")


def test_in_the_foreground_it_shows_what_happens_until_an_interrupt(bus: WholeBus) -> None:
    out = bus.run_dir / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "supervisor.py"), "up", "--workers", "1", *bus.settings],
            cwd=bus.run_dir,
            env=bus.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: "next:" in out.read_text(), 30, "the summary")
    text = out.read_text()
    order = [text.index(f"{name}  ") for name in ("simulator", "broker", "bridge.1")]
    assert order == sorted(order)
    for part in ("waiting for broker", "ready in", "5 of 5 processes", "simulated", "Ctrl-C"):
        assert part in text
    assert "\x1b[" not in text, "no colour in a file"
    asked = bus.ask("logs", "supervisor")
    assert asked.returncode == 3
    assert "runs in a terminal" in asked.stderr
    assert "--detach" in asked.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    text = out.read_text()
    assert "stopping: SIGINT" in text
    assert "ERROR" not in text
    assert "WARNING" not in text
    assert not bus.living()


def test_in_the_background_it_returns_when_all_is_ready(whole_bus: WholeBus) -> None:
    rows = whole_bus.json("status")["processes"]
    assert {row["state"] for row in rows} == {"ready"}
    again = whole_bus.run("up", "--detach", *whole_bus.settings)
    assert again.returncode == 1
    assert f"pid {running_pid(whole_bus.run_dir)}" in again.stderr
    here = whole_bus.run("up", *whole_bus.settings)
    assert here.returncode == 1
    assert here.stderr.startswith("mdbus: already running in ")


@pytest.mark.parametrize(
    ("setting", "detach"), [("bridge.port", []), ("simulator.ports.finnhub", ["--detach"])]
)
def test_a_busy_port_is_one_line(bus: WholeBus, setting: str, detach: list[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        done = bus.run("up", *detach, *bus.settings, "--set", f"{setting}={port}")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"mdbus: port {port} on 127.0.0.1 is in use by another program; free it or choose another "
        f"one with --set {setting}=PORT"
    ]
    assert not bus.living()


def test_a_busy_port_leaves_no_directory_behind(bus: WholeBus) -> None:
    target = bus.run_dir / "new"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        setting = f"bridge.port={other.getsockname()[1]}"
        done = bus.run("up", *bus.settings, "--set", setting, "--run-dir", str(target))
    assert done.returncode == 1
    assert "is in use" in done.stderr
    assert not target.exists()


def test_what_is_not_ready_is_named_the_rest_runs_and_all_of_it_dies_with_the_supervisor(
    bus: WholeBus,
) -> None:
    """A feed that refuses its settings: the others run, and `up` says so. Then kill -9."""
    (bus.run_dir / "mdbus.toml").write_text(
        '[feeds.other]\nvenue = "nowhere"\nsymbols = ["A"]\n[feeds.finnhub]\nenabled = false\n'
    )
    done = bus.run("up", "--detach", "--workers", "1", *bus.settings)
    assert done.returncode == 1
    assert "not ready: feed.other" in done.stderr
    states = {row["name"]: row["state"] for row in bus.json("status")["processes"]}
    assert states.pop("feed.other") != "ready"
    assert set(states.values()) == {"ready"}
    check = bus.ask("check")
    assert check.returncode == 1
    assert check.stdout.startswith("feed.other:")
    pid = running_pid(bus.run_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not living(bus.run_dir), 15.0, "0 processes left")


def test_commands_are_shown_with_the_directory_that_they_would_not_find(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir)
    monkeypatch.setenv("MDBUS_RUN_DIR", str(run_dir))
    assert _where(str(run_dir), of_service=False) == ""
    assert _where(str(run_dir), of_service=True) == f" --run-dir {run_dir}"
    assert _where("/my bus", of_service=False) == " --run-dir '/my bus'"
    (run_dir / "mdbus.toml").write_text('run_dir = "/my bus"\n')
    assert _where("/my bus", of_service=False) == ""
    (run_dir / "mdbus.toml").write_text("run_dir =\n")
    assert _where("/my bus", of_service=False) == " --run-dir '/my bus'"


def test_it_outlives_its_terminal_under_nohup_and_a_closed_output(bus: WholeBus) -> None:
    program = f"{sys.executable} {ROOT / 'supervisor.py'} up --workers 1 {' '.join(bus.settings)}"
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' HUP; exec {program} <&- >&- 2>&-"],
        cwd=bus.run_dir,
        env=bus.environment,
    )
    wait_until(lambda: bus.run("check").returncode == 0, 30, "up")
    process.send_signal(signal.SIGHUP)
    events = bus.run("events", "--json").stdout
    assert bus.run("check").returncode == 0
    assert "stopping" not in events
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not bus.living()
