"""A command on a terminal shows what happens while it waits."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from bus.supervision.progress import is_of, progress
from tests.supervision.conftest import ROOT, Driven


@pytest.mark.parametrize(
    ("process", "names", "meant"),
    [
        ("bridge.1", ["bridge"], True),
        ("bridge.1", ["bridge.1", "broker"], True),
        ("bridge.10", ["bridge.1"], False),
        ("", ["bridge"], False),
    ],
)
def test_a_name_or_a_kind(process: str, names: list[str], meant: bool) -> None:
    assert is_of(process, names) is meant


def test_without_a_terminal_nothing_is_read(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(str(run_dir / "nowhere"), ["bridge"]):
        pass
    assert capsys.readouterr().err == ""


def test_a_restart_tells_that_the_old_one_drains(played_bus: Driven) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, str(ROOT / "supervisor.py"), "restart", "bridge.1"]
    done = subprocess.run(
        [*command, "--run-dir", str(played_bus.run_dir)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"bridge.1: ready\n")
    assert "beside the one that serves, as asked for" in shown
    assert "drains" in shown
    assert "has drained and left" in shown
    assert "bridge.2" not in shown
