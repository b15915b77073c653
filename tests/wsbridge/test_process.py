"""The bridge process from its start to its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.wsbridge.conftest import ROOT
from tests.wsbridge.test_server import run_bridge


def test_the_admin_port_ends_with_the_process(broker_dir: Path, run_dir: Path) -> None:
    process = run_bridge(run_dir, "port = 0", "[bridge.admin]", "enabled = true", "port = 0")
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or "ready" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], "the bridge ended before it was ready"
    assert "admin=" in lines[-1]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_a_bridge_without_tokens_loads_nothing_that_checks_them() -> None:
    """Nor what writes figures before they are asked for: who restarts a worker waits for it."""
    code = "import sys, bus.wsbridge.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "bus.wsbridge.server" in loaded
    assert not loaded & {"jwt", "cryptography", "prometheus_client"}
