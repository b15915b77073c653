"""The stacks of a running process: read from its log, whatever its loop does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bus.runtime.guard import DUMP_SIGNAL
from bus.supervision.cli import main
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.stacks import answers_dump, is_dumping, process_state, stacks_in
from bus.testing import wait_until
from tests.supervision.conftest import Driven
from tests.supervision.test_supervisor import driven_bus


@pytest.fixture(scope="module")
def bus() -> Iterator[Driven]:
    """One that can be blocked, one that can be stopped; neither counts as hung for a minute."""
    plan = [("stuck", "stuck", 0), ("still", "well", 0)]
    with driven_bus(plan, "supervisor.hang_timeout_s=60.0") as driven:
        yield driven.up()


def stacks(bus: Driven, name: str) -> str:
    answer = ask(bus.run_dir, "dump", name=name, wait_s=20, timeout_s=20)
    return str(answer["stacks"])


def test_a_process_shows_where_it_is_and_goes_on(
    bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = bus.pid("still")
    assert main(["dump", "still", "--timeout", "20", "--run-dir", str(bus.run_dir)]) == 0
    shown = capsys.readouterr().out
    assert "select" in shown
    assert shown.count("thread 0x") == 1, "the current one"
    assert "lifeline" in shown or "guard.py" in shown, "and all the others"
    assert bus.pid("still") == pid
    assert bus.row("still")["state"] == "ready"


def test_a_blocked_loop_answers_too(bus: Driven) -> None:
    os.kill(bus.pid("stuck"), signal.SIGUSR1)
    wait_until(lambda: "block_for_ever" in stacks(bus, "stuck"), 20)


def test_a_stopped_process_is_said_to_be(bus: Driven) -> None:
    pid = bus.pid("still")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RefusedError, match="it is stopped"):
            ask(bus.run_dir, "dump", name="still", timeout_s=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_name_that_nobody_has_is_code_3(bus: Driven) -> None:
    with pytest.raises(RefusedError) as refused:
        ask(bus.run_dir, "dump", name="stil")
    assert refused.value.exit_code == 3
    assert "did you mean still?" in str(refused.value)


def test_a_process_without_the_handler_is_never_signalled() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not answers_dump(process.pid)
        assert process_state(process.pid) in ("R", "S", "D")
    finally:
        process.communicate(b"\n")
    assert not answers_dump(process.pid)
    assert process_state(process.pid) == ""


def test_a_process_that_is_about_to_dump_is_told_from_one_that_is_done() -> None:
    code = (
        "import faulthandler, signal, sys\n"
        f"number = {int(DUMP_SIGNAL)}\n"
        "faulthandler.register(number, file=sys.stderr)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [number]); print('deaf', flush=True); input()\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, [number]); print('done', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"
        process.send_signal(DUMP_SIGNAL)
        assert is_dumping(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert not is_dumping(process.pid)
        process.communicate("\n")
    assert not is_dumping(process.pid), "it has gone"


def test_stacks_are_told_from_other_lines() -> None:
    text = "\n".join(
        [
            "2026-11-22T08:22:44.123Z INFO a b c",
            "Thread 0x01 (most recent call first):",
            '  File "a.py", line 1 in f',
            "",
            "Current thread 0x02 (most recent call first):",
            '  File "b.py", line 2 in g',
            "2026-11-22T08:22:44.124Z INFO a b d",
            "  indented, and no stack",
        ]
    )
    assert stacks_in(text).splitlines() == [
        "Thread 0x01 (most recent call first):",
        '  File "a.py", line 1 in f',
        "",
        "Current thread 0x02 (most recent call first):",
        '  File "b.py", line 2 in g',
    ]
    assert stacks_in("nothing\n") == ""
