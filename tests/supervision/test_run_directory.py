"""The run directory: private, one supervisor at a time, cleaned of left-overs."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.supervision.lock import running_pid
from bus.supervision.run_directory import (
    AlreadyRunningError,
    RunDirectory,
    RunDirectoryError,
    start_time,
)


@pytest.fixture
def directory(run_dir: Path) -> Iterator[RunDirectory]:
    made = RunDirectory(run_dir / "run")
    made.lock()
    yield made
    made.unlock()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


def test_it_is_private(directory: RunDirectory) -> None:
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory.path / "supervisor.pid").stat().st_mode) == 0o600


def test_a_directory_open_to_others_is_closed_to_them(run_dir: Path) -> None:
    run_dir.chmod(0o777)
    directory = RunDirectory(run_dir)
    directory.lock()
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    directory.unlock()


def test_a_second_lock_names_the_first(directory: RunDirectory) -> None:
    with pytest.raises(AlreadyRunningError) as refused:
        RunDirectory(directory.path).lock()
    assert refused.value.pid == os.getpid()
    assert str(os.getpid()) in str(refused.value)


def test_who_only_asks_who_runs_there_is_no_supervisor(run_dir: Path) -> None:
    asked = run_dir / "supervisor.pid"
    asked.touch()
    with asked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        timer = threading.Timer(0.03, fcntl.flock, [file, fcntl.LOCK_UN])
        timer.start()
        directory = RunDirectory(run_dir)
        directory.lock()
        timer.join()
    directory.unlock()


def test_a_lock_dies_with_its_holder(directory: RunDirectory) -> None:
    directory.unlock()
    assert running_pid(directory.path) is None
    again = RunDirectory(directory.path)
    again.lock()
    again.unlock()


def test_a_file_in_the_way_is_one_clear_line(run_dir: Path) -> None:
    (run_dir / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="Not a directory"):
        RunDirectory(run_dir / "file" / "run").lock()
    with pytest.raises(RunDirectoryError, match="file is not a directory"):
        RunDirectory(run_dir / "file").check()


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (0o755, ["mine.txt"]),
        (0o700, ["mine.txt"]),
        (0o755, ["supervisor.pid", "effective.toml"]),
        (0o755, ["mdbus.toml"]),
        (0o700, ["a", "b", "log", "mdbus.toml"]),
    ],
)
def test_a_directory_of_somebody_elses_is_refused_and_left_as_it_is(
    run_dir: Path, mode: int, names: list[str]
) -> None:
    for name in names:
        (run_dir / name).touch()
    run_dir.chmod(mode)
    with pytest.raises(RunDirectoryError) as refused:
        RunDirectory(run_dir).lock()
    held = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
    assert str(refused.value) == (
        f"{run_dir} is not a run directory of mdbus (mode {mode:04o}, holds {held}): "
        "name an empty or new one"
    )
    assert stat.S_IMODE(run_dir.stat().st_mode) == mode
    assert sorted(entry.name for entry in run_dir.iterdir()) == sorted(names)


@pytest.mark.parametrize(
    ("names", "unused"),
    [
        ([], True),
        (["mdbus.toml"], False),
        (["publish.sock", "subscribe.sock"], False),
        (["supervisor.pid", "a note of the operator's"], False),
    ],
)
def test_a_private_directory_may_hold_what_a_former_run_left(
    run_dir: Path, names: list[str], unused: bool
) -> None:
    for name in names:
        (run_dir / name).touch()
    assert RunDirectory(run_dir).check() is unused
    assert RunDirectory(run_dir / "new").check()
    assert not (run_dir / "new").exists()


def test_another_users_directory_is_refused(run_dir: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to give a directory away")
    os.chown(run_dir, 65534, 65534)
    with pytest.raises(RunDirectoryError, match="another user"):
        RunDirectory(run_dir).lock()


def test_a_link_planted_in_a_shared_directory_is_not_followed(run_dir: Path) -> None:
    run_dir.chmod(0o1777)
    (run_dir / "target").mkdir()
    (run_dir / "planted").symlink_to(run_dir / "target")
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        RunDirectory(run_dir / "planted").lock()
    assert not list((run_dir / "target").iterdir())


def test_a_recorded_left_over_is_ended(
    directory: RunDirectory, stranger: subprocess.Popen[bytes]
) -> None:
    directory.record("feed.x", stranger.pid)
    assert directory.remove_stale() == [stranger.pid]
    assert stranger.wait(5) == -9
    assert directory.remove_stale() == []


def test_a_stranger_with_a_recorded_pid_is_left_alone(
    directory: RunDirectory, stranger: subprocess.Popen[bytes]
) -> None:
    started = start_time(stranger.pid)
    assert started is not None
    record = directory.path / "pids" / "feed.x"
    record.write_text(json.dumps({"pid": stranger.pid, "start_time": started - 1}))
    assert directory.remove_stale() == []
    assert stranger.poll() is None
    assert not record.exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"pid": "x"}', '{"pid": 1, "start_time": 1}'])
def test_a_broken_record_is_dropped(directory: RunDirectory, text: str) -> None:
    (directory.path / "pids" / "feed.x").write_text(text)
    assert directory.remove_stale() == []


def test_stale_sockets_are_removed(directory: RunDirectory) -> None:
    (directory.path / "publish.sock").write_text("")
    directory.remove_stale()
    assert not (directory.path / "publish.sock").exists()


def test_a_full_disk_is_named_with_the_file(directory: RunDirectory) -> None:
    directory.write_effective("a = 1")
    directory.effective_config.with_suffix(".new").symlink_to("/dev/full")
    with pytest.raises(RunDirectoryError, match=f"{directory.effective_config}: No space left"):
        directory.write_effective("a = 2")
    assert directory.effective_config.read_text() == "a = 1"
    directory.write_effective("a = 3")
    assert directory.effective_config.read_text() == "a = 3"


def test_a_disk_that_is_nearly_full_is_said_before_anything_starts(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir.chmod(0o700)
    real = os.statvfs(run_dir)
    facts = [*real][:10]
    facts[4] = 20_480 // real.f_frsize  # blocks that are free for a user
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(facts))
    with pytest.raises(RunDirectoryError, match="20 KiB of disk space are left there, 1024"):
        RunDirectory(run_dir).lock()
    assert not (run_dir / "supervisor.pid").exists()
    facts[2] = 0
    directory = RunDirectory(run_dir)
    directory.lock()
    directory.unlock()


def test_a_pid_file_that_cannot_be_written_frees_the_directory(run_dir: Path) -> None:
    run_dir.chmod(0o700)
    (run_dir / "supervisor.pid").symlink_to("/dev/full")
    with pytest.raises(RunDirectoryError, match=f"cannot write in {run_dir}: "):
        RunDirectory(run_dir).lock()
    (run_dir / "supervisor.pid").unlink()
    directory = RunDirectory(run_dir)
    directory.lock()
    directory.unlock()
