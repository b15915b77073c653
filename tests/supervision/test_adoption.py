"""Orphans come to a subreaper, which ends them; its own children are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bus.testing import wait_until
from tests.supervision.conftest import ROOT

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
