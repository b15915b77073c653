"""Processes share a value, and the death of one never locks the others out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bus.errors import ConfigError
from bus.feeds.budget import AttemptLedger, WeightLedger
from bus.feeds.shared_file import (
    Busy,
    OnlyOne,
    Shared,
    file_name,
    meeting_directory,
    private_directory,
)
from bus.testing import wait_until

HOLDER = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, str(os.getpid()).encode(), 0)
print("held", flush=True)
sys.stdin.read()
"""

SPENDER = """
import sys, time
from pathlib import Path
from bus.feeds.budget import WeightLedger
from bus.feeds.shared_file import Busy, Shared
shared = Shared(WeightLedger, Path(sys.argv[1]))
granted = 0
for number in range(100):
    who = sys.argv[2] + str(number)
    def ask(ledger):
        wait_s = ledger.ask(who, 1, 1, 120, time.time())
        ledger.answered(who, None, time.time())
        ledger.withdraw(who)
        return wait_s
    while True:
        try:
            granted += shared.change(ask) == 0
            break
        except Busy:
            pass
print(granted)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def take(ledger: AttemptLedger) -> float:
    return ledger.take(3, 300.0, 1_800_000_000.0)


def test_two_that_open_the_file_share_the_value(tmp_path: Path) -> None:
    one, two = (Shared(AttemptLedger, tmp_path / "attempts") for _ in range(2))
    assert [shared.change(take) for shared in (one, two, one)] == [0.0, 0.0, 0.0]
    assert two.change(take) > 0


def test_without_a_file_the_value_is_ones_own() -> None:
    one, two = Shared(AttemptLedger), Shared(AttemptLedger)
    assert [one.change(take) for _ in range(4)][:3] == [0.0, 0.0, 0.0]
    assert two.change(take) == 0.0


def test_a_holder_that_is_killed_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    process = holder(path)
    shared = Shared(AttemptLedger, path)
    with pytest.raises(Busy):
        shared.change(take)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert shared.change(take) == 0.0
    assert shared.fresh_starts == 0 or shared.change(take) == 0.0


@pytest.mark.parametrize("text", [b"", b"{", b"\xff" * 20, b"[]", b'{"taken_s":"x"}', b"\0" * 9])
def test_a_value_that_cannot_be_read_counts_as_a_new_one(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "attempts"
    path.write_bytes(text)
    shared = Shared(AttemptLedger, path)
    assert [shared.change(take) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert shared.change(take) > 0


def test_a_deleted_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    one = Shared(AttemptLedger, path)
    one.change(take)
    path.unlink()
    assert one.change(take) == 0.0
    assert path.exists()


def test_a_place_of_no_use_leaves_the_process_on_its_own(tmp_path: Path) -> None:
    shared = Shared(AttemptLedger, tmp_path / "missing" / "attempts")
    assert [shared.change(take) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert shared.change(take) > 0


def test_a_full_disk_leaves_the_process_on_its_own() -> None:
    shared = Shared(AttemptLedger, Path("/dev/full"))
    assert [shared.change(take) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert shared.change(take) > 0, "what was taken is remembered"
    shared.close()


def test_processes_together_never_spend_more_than_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "weight"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    granted = [int(process.communicate(timeout=30)[0]) for process in processes]
    assert sum(granted) == 120
    assert Shared(WeightLedger, path).change(lambda ledger: ledger.spent) == 120


def test_the_directory_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    assert private_directory(path, "x.shared_dir").stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    with pytest.raises(ConfigError, match="0700"):
        private_directory(path, "x.shared_dir")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        private_directory(tmp_path / "file", "x.shared_dir")


def test_a_groups_directory_is_taken_and_its_files_are_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "group"
    path.mkdir()
    path.chmod(0o2770)
    assert meeting_directory(path, "x.shared_dir") == path
    shared = Shared(WeightLedger, path / "weight")
    shared.change(lambda ledger: ledger.ask("a", 1, 1, 100, time.time()))
    only = OnlyOne(path / "key")
    assert only.take() is None
    for name in ("weight", "key"):
        assert (path / name).stat().st_mode & 0o777 == 0o660
    only.release()
    shared.close()


def test_what_is_made_for_a_setting_is_private(tmp_path: Path) -> None:
    made = meeting_directory(tmp_path / "new", "x.shared_dir")
    assert made.stat().st_mode & 0o777 == 0o700
    Shared(WeightLedger, made / "weight").change(lambda ledger: ledger.refused(429, 1.0, 1.0))
    assert (made / "weight").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("mode", "words"), [(0o2777, "chmod o-w"), (0o770, "chmod g[+]s"), (0o755, "0700")]
)
def test_a_directory_that_is_open_to_others_is_refused_with_what_to_do(
    tmp_path: Path, mode: int, words: str
) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigError, match=words):
        meeting_directory(path, "x.shared_dir")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users")
def test_the_feeds_of_two_users_keep_one_budget() -> None:
    path = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        os.chown(path, 0, 54_321)
        path.chmod(0o2770)
        for user in (54_001, 54_002):
            assert _as_user(user, 54_321, path / "weight") == 0
        ledger = Shared(WeightLedger, path / "weight")
        assert ledger.change(lambda value: value.spent) == 20
        assert _as_user(54_003, 54_003, path / "weight") != 0, "of no such group"
    finally:
        shutil.rmtree(path)


def _as_user(user: int, group: int, path: Path) -> int:
    """Spend 10 there as somebody else; the exit status of whoever did."""
    pid = os.fork()
    if pid == 0:  # nothing but this must happen in the child
        status = 1
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            meeting_directory(path.parent, "x.shared_dir")
            shared = Shared(WeightLedger, path)
            wait_s = shared.change(lambda ledger: ledger.ask("me", 10, 1, 100, time.time()))
            shared.change(lambda ledger: ledger.answered("me", None, time.time()))
            status = int(wait_s > 0 or shared._path is None)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_files_name_does_not_tell_the_key() -> None:
    name = file_name("finnhub", "c0ffee")
    assert name.startswith("finnhub-")
    assert "c0ffee" not in name


def test_only_one_process_has_the_right_and_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    process = holder(path)
    mine = OnlyOne(path)
    assert mine.take() == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: mine.take() is None)
    assert int(path.read_text()) == os.getpid()
    mine.release()
    other = OnlyOne(path)
    assert other.take() is None
    other.release()
