"""A process is listed as what it has become."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
from bus.runtime.title import show_as
print(show_as("bus.broker", ["--name", sys.argv[1]]))
print(Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").split(b"\\0")[1:])
"""


def run(name: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, name], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.splitlines() or [done.stderr]


def test_it_is_listed_as_the_command_that_would_have_started_it() -> None:
    shown = ["-P", "-m", "bus.broker", "--name", "broker"]
    assert run("broker") == ["True", str([word.encode() for word in shown])]


def test_what_there_is_no_room_for_is_not_shown() -> None:
    code = CODE.replace("sys.argv[1]", "'x' * 10_000")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    first, second = done.stdout.splitlines()
    assert first == "False"
    assert second == str([b"-c", code.encode()]), "and nothing is changed"
