"""The nets that end a process whose supervisor is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    spawned = Spawned(-1, -1, 1, os.getpid(), -1)
    code = (
        "from bus.runtime.environment import Spawned\n"
        "from bus.runtime.guard import bind_to_parent\n"
        f"print(bind_to_parent({spawned!r}), bind_to_parent(Spawned(-1, -1, 1, 1, -1)))\n"
    )
    assert run(code).stdout.split() == ["True", "False"]


def test_a_crowd_that_forks_while_it_is_ended_is_ended() -> None:
    """Children come and go while they are listed: one look at them would miss some."""
    fork = "import os, time, signal\nsignal.signal(15, signal.SIG_IGN)\n"
    fork += "for _ in range(12):\n    os.fork() or signal.pause()\nsignal.pause()\n"
    code = (
        "import os, subprocess, sys\n"
        "from bus.runtime.guard import children_of, end_descendants\n"
        f"for _ in range(4): subprocess.Popen([sys.executable, '-c', {fork!r}])\n"
        "while len(children_of(os.getpid())) < 4: pass\n"
        "mark = os.environ['MARK']\n"
        "end_descendants()\n"
        "print('done')\n"
    )
    mark = f"crowd-{os.getpid()}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MARK": mark},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
    wait_until(lambda: not _marked(mark), 5, "nobody of the crowd is left")


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_nobody_is_seen_through_a_proc_of_another_pid_namespace() -> None:
    """The pids there are those of other processes, which must not be touched."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-c"]
    code = "import os; from bus.runtime.guard import children_of; print(children_of(1))"
    done = subprocess.run(
        [*command, code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"namespaces are not permitted here: {done.stderr.strip()}")
    assert done.stdout.strip() == "[]", done.stderr


def test_a_process_shows_its_name_as_far_as_the_kernel_keeps_it() -> None:
    done = run(
        "from bus.runtime.guard import set_process_name\n"
        "set_process_name('feed.some_very_long_venue')\n"
        "print(open('/proc/self/comm').read().strip())\n"
    )
    assert done.stdout == "feed.some_very_\n", done.stderr


def test_a_process_dies_with_its_parent_by_the_signal_it_asked_for() -> None:
    code = (
        "import os, signal\n"
        "from bus.runtime.guard import die_with_parent\n"
        "die_with_parent(signal.SIGKILL)\n"
        "print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    parent = (
        "import os, signal, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode().strip(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = int(run(parent).stdout)
    wait_until(lambda: not _runs(child), 10)
