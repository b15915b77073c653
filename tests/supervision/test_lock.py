"""Who holds a run directory, asked without importing anything heavy."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bus.supervision.lock import running_pid, wait_unlocked


def test_nobody_holds_what_does_not_exist(run_dir: Path) -> None:
    assert running_pid(run_dir / "nowhere") is None


def test_a_file_without_a_lock_means_nobody(run_dir: Path) -> None:
    (run_dir / "supervisor.pid").write_text("1\n")
    assert running_pid(run_dir) is None


def test_the_holder_is_named_until_it_lets_go(run_dir: Path) -> None:
    path = run_dir / "supervisor.pid"
    path.write_text("4242\n")
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert running_pid(run_dir) == 4242
        assert not wait_unlocked(run_dir, 0.05)
    assert wait_unlocked(run_dir, 1.0)
    assert os.path.lexists(path)
