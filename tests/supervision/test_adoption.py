"""Orphans come to a subreaper, which ends them; its own children are left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bus.supervision.control_client import RefusedError, ask
from bus.testing import wait_until
from tests.supervision.conftest import MARK, QUICK, ROOT

CODE = """
import subprocess, sys, time
from bus.runtime.guard import children_of
from bus.supervision.adoption import become_subreaper, end_strangers
import os
assert become_subreaper()
own = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)"
subprocess.run([sys.executable, "-c", orphan])
adopted = [pid for pid in children_of(os.getpid()) if pid != own.pid]
assert len(adopted) == 1, adopted
deadline = time.monotonic() + 5
(name,) = end_strangers({own.pid}).values()
assert name.startswith("python"), name
while end_strangers({own.pid}) and time.monotonic() < deadline:
    pass
assert children_of(os.getpid()) == [own.pid]
assert own.poll() is None
own.kill()
own.wait()
print(adopted[0])
"""  # noqa: E501


def test_an_orphan_is_ended_and_reaped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not Path("/proc", done.stdout.strip()).exists(), 5)


@pytest.mark.parametrize("own_proc", [True, False], ids=["own /proc", "the host's /proc"])
def test_as_first_process_of_a_namespace_it_reaps_drains_and_ends(
    own_proc: bool, run_dir: Path
) -> None:
    """As in a container: no zombie stays, SIGTERM drains, the exit code is 0."""
    (run_dir / "supervisor.pid").touch()
    plan = json.dumps([["a", "orphans", 0, None, ""], ["b", "well", 1, None, ""]])
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child=SIGKILL"]
    unshare += ["--mount-proc"] if own_proc else []
    events = run_dir / "events"
    with events.open("wb") as out:
        first = subprocess.Popen(
            [
                *unshare,
                *(sys.executable, str(ROOT / "tests" / "supervision" / "driver.py"), plan),
                *(f"run_dir={run_dir}", *QUICK),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(run_dir)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: first.poll() is not None or _is_up(run_dir), 20)
        if first.poll() is not None and b"unshare" in events.read_bytes():
            pytest.skip(f"namespaces are not permitted here: {events.read_text().strip()}")
        assert first.poll() is None, events.read_text()
        supervisor = int(_children(first.pid)[0])
        rows = ask(run_dir, "status")["processes"]
        assert [row["state"] for row in rows] == ["ready", "ready"]
        assert ask(run_dir, "status")["pid"] == 1
        wait_until(lambda: not _zombies_below(supervisor), 5, "no zombie stays")
        old = _children(supervisor)
        assert len(old) == 2
        ask(run_dir, "restart", names=["b"], wait_s=20)
        assert len(set(old) & set(_children(supervisor))) == 1, "and children are watched as ever"
        os.kill(supervisor, signal.SIGTERM)
        assert first.wait(20) == 0, events.read_text()
        told = re.findall(r"whose parent died pid=(\d+)", events.read_text())
        assert len(told) == len(set(told)), "each once, however long it takes to die"
    finally:
        first.kill()
        first.wait()


def _is_up(run_dir: Path) -> bool:
    try:
        return bool(ask(run_dir, "status")["state"] == "running")
    except RefusedError:
        return False


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _zombies_below(pid: int) -> list[str]:
    stats = [Path(f"/proc/{child}/stat").read_text() for child in _children(pid)]
    return [stat for stat in stats if stat.rpartition(")")[2].split()[0] == "Z"]
