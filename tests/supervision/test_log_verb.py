"""The logs verb: last lines, merged by time, followed across a rotation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bus.supervision.cli import main
from bus.supervision.log_files import set_aside
from bus.supervision.log_verb import Followed, last_lines
from bus.testing import wait_until

ROOT = Path(__file__).resolve().parents[2]


def write(run_dir: Path, name: str, *lines: str) -> Path:
    (run_dir / "log").mkdir(exist_ok=True)
    path = run_dir / "log" / f"{name}.log"
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


@pytest.mark.parametrize("wanted", [0, 1, 3, 10_000, 50_000])
def test_the_last_lines_of_a_long_file(run_dir: Path, wanted: int) -> None:
    lines = [f"line {number} {'x' * (number % 90)}" for number in range(20_000)]
    path = write(run_dir, "a", *lines)
    assert last_lines(path, wanted) == (lines[-wanted:] if wanted else [])


def test_last_lines_go_on_into_the_files_set_aside(run_dir: Path) -> None:
    path = write(run_dir, "a", "5", "6")
    path.with_name("a.log.1").write_text("3\n4\n")
    path.with_name("a.log.2").write_text("1\n2\n")
    assert last_lines(path, 3) == ["4", "5", "6"]
    assert last_lines(path, 10) == ["1", "2", "3", "4", "5", "6"]


def test_a_follower_reads_every_file_begun_since_it_last_looked(run_dir: Path) -> None:
    """Two rotations between two reads, and a late line in the file that was set aside first."""
    path = write(run_dir, "a", "old")
    follower = Followed(path)
    assert follower.read() == ""
    write(run_dir, "a", "1")
    late = path.open("a")
    for number in (2, 3):
        set_aside(path, 4)
        assert follower.read() in ("1\n", ""), "the fresh file is not there yet"
        write(run_dir, "a", str(number))
        set_aside(path, 4)
        write(run_dir, "a", f"{number}b")
    late.write("late\n")
    late.close()
    assert sorted(follower.read().split()) == ["2", "2b", "3", "3b", "late"]
    set_aside(path, 2)
    write(run_dir, "a", "4")
    assert follower.read() == "4\n"
    follower.close()


def test_a_process_whose_only_log_is_set_aside_has_a_name(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(run_dir, "a", "x").rename(run_dir / "log" / "a.log.1")
    assert main(["logs", "a", "--run-dir", str(run_dir)]) == 0
    assert capsys.readouterr().out == "x\n"


def test_all_logs_are_merged_by_time(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = "2026-11-22T08:00:0{}.000Z INFO    {} x y"
    write(run_dir, "a", stamp.format(1, "a"), stamp.format(3, "a"), "  more of the third")
    write(run_dir, "b", stamp.format(2, "b"), stamp.format(4, "b"))
    assert main(["logs", "--run-dir", str(run_dir)]) == 0
    order = [line[18:19] for line in capsys.readouterr().out.splitlines()]
    assert order == ["1", "2", "3", "d", "4"], "a line without a time stays with its own"


def test_a_mistyped_name_finds_its_neighbour(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(run_dir, "feed.binance", "x")
    assert main(["logs", "feed.binanc", "--run-dir", str(run_dir)]) == 3
    assert "did you mean feed.binance?" in capsys.readouterr().err


def test_no_logs_means_no_supervisor(run_dir: Path) -> None:
    assert main(["logs", "--run-dir", str(run_dir)]) == 4


def test_following_goes_on_across_a_rotation_and_ends_quietly(run_dir: Path) -> None:
    path = write(run_dir, "a", "one")
    out = run_dir / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "supervisor.py", "logs", "a", "-f", "--run-dir", str(run_dir)],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.PIPE,
            env=os.environ,
        )
    try:
        wait_until(lambda: out.read_text() == "one\n")
        write(run_dir, "a", "two")
        wait_until(lambda: out.read_text() == "one\ntwo\n")
        path.rename(path.with_name("a.log.1"))
        write(run_dir, "a", "three")
        wait_until(lambda: out.read_text() == "one\ntwo\nthree\n")
    finally:
        process.send_signal(2)
        _, errors = process.communicate()
    assert errors == b""


STAMP = "2026-11-22T08:22:44.123Z"


def test_lines_are_filtered_by_level_and_text(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        run_dir,
        "a",
        f"{STAMP} INFO    a x.y all is well",
        f"{STAMP} WARNING a x.y a Gap was seen",
        "  a line that belongs to it",
        f"{STAMP} ERROR   a x.y broken",
    )
    where = ["--run-dir", str(run_dir)]
    assert main(["logs", "--level", "warning", *where]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == [
        "seen",
        "it",
        "broken",
    ]
    assert main(["logs", "a", "--grep", "gap", "-n", "5", *where]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{STAMP} WARNING a x.y a Gap was seen"]
    assert main(["logs", "--level", "error", "-n", "1", *where]) == 0
    assert "broken" in capsys.readouterr().out


def test_several_logs_may_be_named(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        write(run_dir, name, f"{STAMP} INFO    {name} x.y line of {name}")
    assert main(["logs", "a", "c", "--run-dir", str(run_dir)]) == 0
    assert [line[-1] for line in capsys.readouterr().out.splitlines()] == ["a", "c"]


@pytest.mark.parametrize("verb", ["logs", "events"])
def test_following_ends_when_nobody_reads_any_more(run_dir: Path, verb: str) -> None:
    """Although no further line is ever written."""
    log = run_dir / "log"
    log.mkdir()
    (log / "broker.log").write_text("a line\n")
    (log / "events.jsonl").write_text('{"at_ns": 0, "kind": "note", "process": "", "text": "x"}\n')
    following = subprocess.Popen(
        [sys.executable, "-P", "-m", "bus.supervision", verb, "-f", "--run-dir", str(run_dir)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert following.stdout is not None
    assert following.stdout.readline()
    following.stdout.close()
    assert following.wait(20) == 0
