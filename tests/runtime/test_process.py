"""A process run alone: its exit codes and the one line that says why."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bus.testing import wait_until
from tests.runtime.conftest import ended, start


@pytest.mark.parametrize(
    ("behaviour", "code", "says"),
    [
        ("returns", 0, ""),
        ("fails", 1, 'failed reason="the venue refuses us"'),
        ("raises-config", 78, "bridge.port: is taken"),
        ("raises-bus", 1, 'failed reason="cannot bind ipc:///x"'),
        ("raises-os", 1, "Address already in use"),
        ("raises-bug", 1, "KeyError: 'surprise'"),
        ("raises-in-a-group", 1, 'failed reason="cannot go on"'),
    ],
)
def test_each_end_has_its_exit_code_and_one_line(behaviour: str, code: int, says: str) -> None:
    exit_code, errors = ended(start(behaviour))
    assert exit_code == code
    assert says in errors
    assert not errors.startswith("Traceback")
    assert "\nTraceback" not in errors


@pytest.mark.parametrize("behaviour", ["well/uvloop", "well/asyncio", "blocking"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(behaviour: str, number: signal.Signals) -> None:
    process = start(behaviour)
    assert process.stderr is not None
    assert "ready" in process.stderr.readline()
    process.send_signal(number)
    exit_code, errors = ended(process)
    assert exit_code == 0
    assert f"stopping reason={number.name}" in errors


@pytest.mark.parametrize("behaviour", ["returns", "blocking"])
def test_a_process_run_by_hand_makes_its_run_directory(behaviour: str, run_dir: Path) -> None:
    made = run_dir / "new" / "run"
    process = start(behaviour, environment={"MDBUS_RUN_DIR": str(made)})
    if behaviour == "blocking":
        assert process.stderr is not None
        assert "ready" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_run_directory_that_cannot_be_made_is_one_line(run_dir: Path) -> None:
    (run_dir / "file").touch()
    for path, why in (("file", "file is not a directory"), ("file/run", "cannot make")):
        exit_code, errors = ended(
            start("returns", environment={"MDBUS_RUN_DIR": str(run_dir / path)})
        )
        assert exit_code == 78
        assert why in errors
        assert len(errors.splitlines()) == 1


def test_a_second_interrupt_cancels_a_body_that_does_not_drain() -> None:
    process = start("deaf")
    assert process.stderr is not None
    assert "ready" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 1


def test_bad_settings_are_reported_all_at_once_with_78() -> None:
    exit_code, errors = ended(start("well", "--set", "bridge.prt=1", "--set", "mode=lively"))
    assert exit_code == 78
    assert "did you mean bridge.port?" in errors
    assert "mode" in errors
    assert len(errors.splitlines()) == 2


def test_a_missing_file_is_one_line_with_78() -> None:
    exit_code, errors = ended(start("well", "--config", "/nowhere/mdbus.toml"))
    assert exit_code == 78
    assert "no such file" in errors


def test_the_stacks_of_a_hung_process_can_be_had() -> None:
    process = start("blocked")
    assert process.stderr is not None
    assert "ready" in process.stderr.readline()
    wait_until(lambda: process.poll() is None)
    process.send_signal(signal.SIGABRT)
    exit_code, errors = ended(process)
    assert exit_code == -signal.SIGABRT
    assert "in body" in errors


def test_a_process_without_an_event_loop_does_not_wait_for_asyncio() -> None:
    """The broker is down for as long as importing takes, and asyncio is a sixth of that."""
    code = (
        "import sys, bus.broker.__main__\n"
        "heavy = {'asyncio', 'ssl', 'hashlib', 'difflib', 'websockets', 'psutil'}\n"
        "print(*sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
