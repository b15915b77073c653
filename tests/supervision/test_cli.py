"""The command line itself: help, usage, exit codes, speed."""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bus.errors import BusError, ConfigError
from bus.supervision import exit_codes
from bus.supervision.cli import _VERBS, _explained, main, program_name
from bus.supervision.control_client import RefusedError
from tests.supervision.conftest import ROOT, Driven

VERBS = list(_VERBS)


def command(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, str(ROOT / "supervisor.py"), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit codes:" in out
    assert all(re.search(rf"^    {verb}\b", out, re.M) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--config" in shown
    assert re.search(rf"^  \S.* {verb}\b", shown.partition("examples:")[2], re.M)


@pytest.mark.parametrize(
    "words", [["dance"], ["restart"], ["up", "--workers", "x"], ["tail"], ["config", "burn"]]
)
def test_wrong_words_are_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == exit_codes.USAGE


@pytest.mark.parametrize(
    ("word", "hint"),
    [("stauts", "did you mean status?"), ("rstart", "did you mean restart?"), ("x", "up, down,")],
)
def test_a_mistyped_verb_is_named_with_the_nearest(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word, "--json"])
    assert ended.value.code == exit_codes.USAGE
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"there is no verb {word!r}; " in said
    assert hint in said


@pytest.mark.parametrize("verb", ["status", "up", "down", "logs"])
def test_a_file_as_run_directory_is_one_line(
    verb: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_dir / "file"
    file.touch()
    assert main([verb, "--run-dir", str(file)]) == exit_codes.USAGE
    assert capsys.readouterr().err == f"mdbus: --run-dir: {file} is not a directory\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 4),
        (["status", "--json"], 4),
        (["down"], 4),
        (["check"], 4),
        (["restart", "broker"], 4),
        (["tail", "md/price/"], 4),
        (["get", "md/price/sim/X/"], 4),
        (["topics", "--json"], 4),
        (["tail", "md/prices/"], 2),
        (["tail", "../etc/"], 2),
        (["get", "sys/trades/"], 2),
        (["tail", "md/price/", "--count", "0"], 2),
        (["up", "--config", "/nowhere.toml"], 2),
        (["up", "--set", "bridge.port=many"], 2),
        (["up", "--workers", "0"], 2),
    ],
)
def test_each_failure_has_its_code_and_one_line(
    words: list[str], code: int, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--run-dir", str(run_dir)]) == code
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("mdbus: ")


def test_errors_that_explain_themselves_are_told_from_bugs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _explained(ConfigError.of("a", "b")) == 2
    assert _explained(BusError("x")) == 1
    assert _explained(OSError(13, "Permission denied")) == 1
    assert capsys.readouterr().err.endswith("mdbus: Permission denied\n")
    assert _explained(OSError(13, "Permission denied", "/x")) == 1
    assert capsys.readouterr().err == "mdbus: /x: Permission denied\n"
    assert _explained(OSError(28, "No space left on device")) == 1
    assert capsys.readouterr().err == "mdbus: cannot print: No space left on device\n"
    assert _explained(RefusedError(5, "late")) == 5
    assert _explained(KeyError("bug")) is None
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_quiet(run_dir: Path) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    done = subprocess.run(
        [sys.executable, str(ROOT / "supervisor.py"), "config", "show"],
        stdout=write_fd,
        stderr=subprocess.PIPE,
        cwd=run_dir,
        check=False,
    )
    os.close(write_fd)
    assert (done.returncode, done.stderr) == (0, b"")


SLOW = {
    *("asyncio", "bus.client", "bus.config", "cryptography", "dataclasses", "http.client"),
    *("httpx", "importlib.metadata", "jwt", "msgpack", "msgspec", "pathlib"),
    *("prometheus_client", "psutil", "rich", "ssl", "subprocess", "tomllib", "zmq"),
}
SETTINGS = {"bus.config", "pathlib", "tomllib"}
READING = {"bus.client", "msgpack", "msgspec", "zmq"}
NEEDED: dict[str, set[str]] = {
    "--version": set(),
    "status": set(),
    "status --json": set(),
    "check": set(),
    "metrics": set(),
    "top --once": set(),
    "top --once --json": set(),
    "dump bridge.1": set(),
    "start bridge.1": set(),
    "scale bridge 2": set(),
    "reload --dry-run": set(),
    "feed list": set(),
    "events": {"pathlib"},
    "logs": {"pathlib"},
    "config show": SETTINGS,
    "config check": SETTINGS,
    "config init": SETTINGS,
    "doctor": {*SETTINGS, "importlib.metadata"},
    "get md/price/sim/BTC-USDT/ --timeout 0.05": READING,
    "topics --timeout 0.05": READING,
}


@pytest.mark.parametrize("line", NEEDED)
def test_a_verb_imports_only_what_its_answer_needs(
    line: str, played_bus: Driven, tmp_path: Path
) -> None:
    """What is slow to import is what the time of a verb is made of; held here without a clock."""
    where = [] if line.startswith("-") else ["--run-dir", str(played_bus.run_dir)]
    code = (
        "import sys; from bus.supervision.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print(*({SLOW} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *line.split(), *where],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert {*done.stderr.splitlines()[-1].split()} == NEEDED[line]


def test_a_query_is_quick(run_dir: Path) -> None:
    """Measured in CPU time, which a busy machine does not stretch."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command("status", "--run-dir", str(run_dir))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.08


@pytest.mark.parametrize("words", [["up"], ["status"], ["--help"]])
def test_a_python_without_the_packages_is_told_what_to_run(words: list[str], run_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "supervisor.py"), *words],
        cwd=run_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"mdbus is not installed for {sys.executable}: run `make up`, or "
        ".venv/bin/python supervisor.py\n"
    )


def test_the_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"mdbus \d+\.\d+\.\d+\n", command("--version").stdout)


def test_it_calls_itself_what_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, python = tmp_path / "bin" / "mdbus", tmp_path / "bin" / "python"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "argv", ["/site-packages/bus/supervision/__main__.py"])
    assert program_name() == "python -m bus.supervision"
    script.parent.mkdir()
    script.touch(mode=0o755)
    assert program_name() == "bin/mdbus"
    monkeypatch.chdir("/")
    assert program_name() == str(script), "a service runs in the root directory"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program_name() == "mdbus"


def test_a_path_it_may_not_look_into_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `su` the PATH is that of whoever one was before."""
    script, private = tmp_path / "mdbus", tmp_path / "private"
    script.touch(mode=0o755)
    private.mkdir()
    stat = os.stat

    def forbidden(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(private)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", f"{private}:{tmp_path}")
    assert program_name() == "mdbus"


def test_a_directory_removed_under_ones_feet_is_said(tmp_path: Path) -> None:
    """By every verb that needs to know where it is; the others work."""
    here = tmp_path / "here"
    code = (
        f"import os, shutil, sys; os.chdir({str(here)!r}); shutil.rmtree({str(here)!r}); "
        "from bus.supervision.cli import main; sys.exit(main())"
    )
    for words, expected, said in (
        (["up"], 1, "the current directory was removed"),
        (["status", "--run-dir", "/nowhere"], 4, "no supervisor"),
    ):
        here.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == expected, done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_are_no_trouble(run_dir: Path, closed: str) -> None:
    """What is opened next must not take their place."""
    code = (
        "import os; from bus.supervision.cli import main; code = main(); "
        "fd = os.open('/dev/null', os.O_RDONLY); os._exit(code if fd > 2 else 99)"
    )
    line = f'exec {sys.executable} -c "{code}" status --run-dir {run_dir} {closed}'
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert ("no supervisor" in done.stderr) == ("2>&-" not in closed)


def test_a_terminal_of_another_alphabet_is_no_trouble(run_dir: Path) -> None:
    (run_dir / "log").mkdir()
    (run_dir / "log" / "broker.log").write_text("2026-11-01 waiting …\n", encoding="utf-8")
    done = command(
        "logs", "--run-dir", str(run_dir), env={**os.environ, "PYTHONIOENCODING": "latin-1"}
    )
    assert done.returncode == 0
    assert done.stdout == "2026-11-01 waiting ?\n"
    assert not done.stderr


def test_an_interrupt_while_modules_are_imported_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert main(["status"]) == 130


def test_the_program_writes_everything_before_it_goes(run_dir: Path) -> None:
    """It goes at once, without Python's own end: into a pipe, where output waits in a buffer."""
    (run_dir / "log").mkdir()
    text = "2026-11-01T00:00:00.000Z INFO  x y z\n" * 1_000
    (run_dir / "log" / "broker.log").write_text(text)
    done = command("logs", "-n", "1000", "--run-dir", str(run_dir))
    assert (done.returncode, done.stdout) == (0, text)
    done = command("status", "--json", "--run-dir", str(run_dir))
    assert (done.returncode, json.loads(done.stdout)["state"]) == (4, "stopped")
    assert "no supervisor" in done.stderr
