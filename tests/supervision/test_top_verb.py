"""The top verb: a table for whoever looks, lines for programs, a live screen on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bus.supervision.cli import main
from bus.supervision.top import HEADINGS, picture
from tests.supervision.conftest import ROOT, Driven


def test_one_look_without_a_terminal(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--run-dir", str(played_bus.run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("running, healthy")
    assert lines[2].split()[:3] == ["NAME", "STATE", "PID"]
    assert [line.split()[0] for line in lines[3:7]] == [
        *("feed.binance", "feed.finnhub", "bridge.1", "bridge.2")
    ]


def test_programs_get_the_status(played_bus: Driven, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--json", "--run-dir", str(played_bus.run_dir)]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"


def test_at_80_columns_every_heading_is_whole(played_bus: Driven) -> None:
    drawn = picture(played_bus.status(), 80, colour=False)
    (header,) = [line for line in drawn if line.startswith("NAME")]
    assert header.split()[:3] == ["NAME", "STATE", "PID"]
    assert set(header.split()) <= {*HEADINGS}
    assert max(map(len, drawn)) <= 80


def test_one_look_on_a_terminal_is_coloured_as_wide_as_that(
    played_bus: Driven, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["top", "--once", "--run-dir", str(played_bus.run_dir)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("\x1b[32mrunning, healthy\x1b[0m  ")
    assert "\x1b[1mNAME\x1b[0m" in out
    assert "LAST EXIT" not in out, "no room"


def test_without_a_supervisor_it_is_4(run_dir: Path) -> None:
    assert main(["top", "--run-dir", str(run_dir)]) == 4


def test_on_a_terminal_it_is_live_and_q_leaves(played_bus: Driven) -> None:
    ours, theirs = pty.openpty()
    where = ["--run-dir", str(played_bus.run_dir)]
    top = subprocess.Popen(
        [sys.executable, str(ROOT / "supervisor.py"), "top", "--interval", "0.1", *where],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"},
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 20
    while shown.count(b"bridge.2") < 3 and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.5)[0]:
            shown += os.read(ours, 65_536)
    assert shown.count(b"bridge.2") >= 3, shown[-2_000:]
    os.write(ours, b"q")
    while top.poll() is None and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                os.read(ours, 65_536)
            except OSError:
                break
    assert top.wait(10) == 0
    os.close(ours)
