"""The nets that end a process whose supervisor is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bus.runtime.environment import Spawned
from bus.runtime.guard import children_of
from bus.testing import wait_until
from tests.runtime.conftest import ROOT

NEST = (
    "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
    "'import sys; print(1, flush=True); sys.stdin.read()'], start_new_session=True); p.wait()"
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_every_generation_below_a_process_is_ended() -> None:
    code = (
        "import os, subprocess, sys\n"
        "from bus.runtime.guard import children_of, end_descendants\n"
        f"child = subprocess.Popen([sys.executable, '-c', {NEST!r}], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "grandchild = children_of(child.pid)[0]\n"
        "end_descendants()\n"
        "child.wait()\n"
        "print(grandchild)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    grandchild = int(done.stdout)
    wait_until(lambda: not _runs(grandchild), 5)


def _runs(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_nobody_is_below_a_process_that_is_gone() -> None:
    assert children_of(2**22 + 1) == []


def test_a_dead_supervisor_is_told_from_a_living_one() -> None:
    spawned = Spawned("ipc:///x", 1, "t", os.getpid(), -1)
    code = (
        "from bus.runtime.environment import Spawned\n"
        "from bus.runtime.guard import bind_to_parent\n"
        f"print(bind_to_parent({spawned!r}), bind_to_parent(Spawned('ipc:///x', 1, 't', 1, -1)))\n"
    )
    assert run(code).stdout.split() == ["True", "False"]
