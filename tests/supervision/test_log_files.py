"""Logs bounded by size: renamed in order, never while their process has not followed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bus.supervision.control_client import ask
from bus.supervision.log_files import LogKeeper, end_of, kept, rotate_log, set_aside, tail_of
from bus.supervision.log_verb import Followed
from bus.testing import wait_until
from tests.supervision.conftest import ROOT, Driven


def test_a_log_is_set_aside_only_when_it_is_too_large(run_dir: Path) -> None:
    path = run_dir / "a.log"
    assert not rotate_log(path, 10, 3)
    path.write_text("x" * 10)
    assert not rotate_log(path, 10, 3)
    path.write_text("x" * 11)
    assert rotate_log(path, 10, 3)
    assert not path.exists()
    assert (run_dir / "a.log.1").read_text() == "x" * 11


@pytest.mark.parametrize("files", [2, 3, 5])
def test_so_many_files_are_kept_newest_first(run_dir: Path, files: int) -> None:
    path = run_dir / "a.log"
    for number in range(10):
        path.write_text(str(number))
        set_aside(path, files)
    path.write_text("10")
    assert [int(file.read_text()) for file in kept(path)] == list(range(10, 10 - files, -1))


def test_a_smaller_number_of_files_takes_the_old_ones_away(run_dir: Path) -> None:
    path = run_dir / "a.log"
    for number in range(8):
        path.write_text(str(number))
        set_aside(path, 8)
    set_aside(path, 2)
    assert len(kept(path)) <= 1, "the fresh one is yet to be made"


def keeper(directory: Path, max_bytes: int = 10, files: int = 3) -> LogKeeper:
    return LogKeeper(directory, lambda: (max_bytes, files))


def test_nothing_more_is_renamed_until_the_process_has_followed(run_dir: Path) -> None:
    path = run_dir / "a.log"
    path.write_text("a line too many")
    asked: list[str] = []

    def ask_it(where: str) -> bool:
        asked.append(where)
        return True

    logs = keeper(run_dir)
    logs.check("a", 100.0, ask_it)
    assert asked == [str(path)]
    with (run_dir / "a.log.1").open("a") as file:
        file.write("and what the process goes on writing, for want of another file")
    for tenth in range(1, 31):
        logs.check("a", 100.0 + tenth / 10, ask_it)
    assert len(asked) == 4, "asked again, once a second"
    assert kept(path) == [run_dir / "a.log.1"]
    path.write_text("here it is")
    logs.check("a", 104.0, ask_it)
    assert len(asked) == 4


def test_a_log_that_cannot_be_renamed_is_said_once(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "a.log.2").mkdir()
    (run_dir / "a.log").write_text("a line too many")
    logs = keeper(run_dir)
    for _ in range(3):
        logs.check("a", 100.0, lambda _: True)
    assert capsys.readouterr().err.count("cannot rotate a log") == 1


def test_a_programs_own_log_is_rotated_only_when_it_writes_there(run_dir: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from bus.supervision.log_files import tail_of, LogKeeper;"
        "path = Path(sys.argv[1]); keeper = LogKeeper(path.parent, lambda: (10, 3));"
        "print('a line too many', file=sys.stderr);"
        "keeper.check_own(path); keeper.check_own(path);"
        "print('fresh', file=sys.stderr)"
    )
    path = run_dir / "supervisor.log"
    with path.open("wb") as log:
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
    assert path.read_text() == "fresh\n"
    assert (run_dir / "supervisor.log.1").read_text() == "a line too many\n"
    keeper(run_dir).check_own(path)  # not where this program writes
    assert path.read_text() == "fresh\n"


def test_a_program_without_a_log_of_its_own_has_nothing_to_rotate(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper(run_dir).check_own(run_dir / "supervisor.log")
    assert capsys.readouterr().err == ""


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r" line number=(\d+) ", text)]


def test_no_line_is_lost_while_a_running_process_changes_files(played_bus: Driven) -> None:
    """Some hundred kilobytes into files of 50 kB, followed from the first line to the last."""
    log = played_bus.run_dir / "log" / "feed.finnhub.log"
    follower = Followed(log)
    seen: list[int] = []
    first = log.stat().st_ino
    pid = played_bus.pid("feed.finnhub")
    rounds = 0
    while len(kept(log)) < 3 or log.stat().st_ino == first or rounds < 4:
        rounds += 1
        assert rounds < 40, "the log was not rotated"
        words = {"from": len(seen), "to": len(seen) + 200, "pad": 200}
        ask(
            played_bus.run_dir,
            "command",
            name="feed.finnhub",
            command="chatter",
            arguments=words,
            wait_s=20,
        )

        def all_there(wanted: int = words["to"]) -> bool:
            seen.extend(numbers(follower.read()))
            return len(seen) >= wanted

        wait_until(all_there)
        assert seen == list(range(words["to"]))
        wait_until(lambda: log.exists() and log.stat().st_size <= 50_000, 30)
    follower.close()
    assert played_bus.pid("feed.finnhub") == pid, "the process was not touched"
    assert len(kept(log)) == 3
    assert all(file.stat().st_size < 150_000 for file in kept(log)), "what a round adds"


def test_the_tail_of_a_log_is_bounded_and_never_an_error(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert tail_of(log) == []
    log.write_text("\n".join(f"line {number}" for number in range(100)) + "\n" + "x" * 9_000)
    tail = tail_of(log, 3)
    assert tail[-1] == "x" * 500
    log.write_text("one\ntwo\nthree\n")
    assert tail_of(log, 2) == ["two", "three"]


def test_the_tail_begins_where_a_generation_did(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert end_of(log) == (0, 0)
    log.write_text("of an earlier run\n")
    begun = end_of(log)
    assert tail_of(log, since=begun) == []
    with log.open("a") as file:
        file.write("of this one\n")
    assert tail_of(log, since=begun) == ["of this one"]
    set_aside(log, 3)
    log.write_text("a fresh file, and all of it is of this run\n")
    assert tail_of(log, since=begun) == ["a fresh file, and all of it is of this run"]
