"""One operating-system process: started alone, signalled for certain, reaped with its group."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from bus.runtime.environment import Spawned
from bus.supervision.spawn import (
    Child,
    import_path,
    module_command,
    process_arguments,
    signal_name,
    spawn,
)
from bus.testing import eventually


class Started:
    """One child and what is known of its end."""

    def __init__(self, run_dir: Path, code: str, listen_fd: int | None = None) -> None:
        self.exits: list[int] = []
        self.log = run_dir / "x.log"
        self.lifeline = os.pipe()
        self.child: Child = spawn(
            [sys.executable, "-c", code],
            spawned=Spawned(0, 0, 1, os.getpid(), self.lifeline[0], listen_fd),
            log_path=self.log,
            on_exit=self.exits.append,
        )

    async def exit_code(self) -> int:
        await eventually(lambda: self.exits)
        for fd in self.lifeline:
            os.close(fd)
        return self.exits[0]


async def test_an_exit_is_heard_once_with_its_code(run_dir: Path, loop_kind: str) -> None:
    started = Started(run_dir, "raise SystemExit(7)")
    assert await started.exit_code() == 7
    assert started.exits == [7]
    assert started.child.exit_code == 7


async def test_a_signal_is_a_negative_code(run_dir: Path) -> None:
    started = Started(run_dir, "import signal; signal.pause()")
    started.child.kill_group()
    assert await started.exit_code() == -signal.SIGKILL
    started.child.kill_group()
    started.child.send(signal.SIGTERM)  # nobody there: nothing happens


async def test_a_stopped_process_hears_that_it_is_to_end(run_dir: Path) -> None:
    started = Started(run_dir, "import signal; signal.pause()")
    started.child.send(signal.SIGSTOP)
    started.child.terminate()
    assert await started.exit_code() == -signal.SIGTERM


async def test_it_leads_a_session_of_its_own_and_writes_to_its_log(run_dir: Path) -> None:
    started = Started(
        run_dir, "import os; print(os.getsid(0) == os.getpgrp() == os.getpid(), flush=True)"
    )
    await started.exit_code()
    assert started.log.read_text() == "True\n"


async def test_it_inherits_the_lifeline_and_nothing_else(run_dir: Path) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    started = Started(run_dir, "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    fds = {0, 1, 2, started.lifeline[0]}
    await started.exit_code()
    os.close(leaked)
    listed = {int(word) for word in started.log.read_text().strip("[]\n").split(",")}
    assert fds <= listed
    assert leaked not in listed
    assert len(listed) == len(fds) + 1, "the listing's own descriptor"


async def test_a_program_that_does_not_exist_is_an_error(run_dir: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn(
            ["/no/such/program"],
            spawned=Spawned(0, 0, 1, 1, 0),
            log_path=run_dir / "x.log",
            on_exit=lambda _: None,
        )


def test_a_module_is_run_by_this_interpreter_and_not_from_the_current_directory() -> None:
    arguments = process_arguments("broker", Path("/run/effective.toml"))
    command = module_command("bus.broker", arguments)
    assert command[:2] == [sys.executable, "-P"]
    assert command[2:] == [
        *("-m", "bus.broker"),
        *("--config", "/run/effective.toml", "--name", "broker"),
    ]


def test_a_child_finds_this_copy_of_the_package() -> None:
    added = import_path({"PYTHONPATH": "/elsewhere"})
    root = str(Path(__file__).resolve().parents[2])
    assert added in ({}, {"PYTHONPATH": f"{root}:/elsewhere"})


def test_signals_have_names() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(40) == "signal 40"
