"""Fixtures shared by every test: both event loops, short run directories, recorded traffic."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
import uvloop

ROOT = Path(__file__).resolve().parent.parent

# How long one example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile(
    "mdbus", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mdbus")

# A shell without job control starts what it runs in the background with Ctrl-C ignored, and so
# would be every process that a test starts: those that it interrupts would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Async tests run on asyncio; those that ask for ``loop_kind`` run on uvloop as well."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if "loop_kind" in getattr(item, "fixturenames", ()):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Ask for this fixture to run an async test on both event loops; it names the one in use."""
    return "uvloop" if "uvloop" in request.node.callspec.id else "asyncio"


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A private directory with a path short enough for ipc sockets (107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="mdb-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function giving a TCP port that was free a moment ago."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def recorded_dir() -> Path:
    """The folder of recorded venue traffic; the test is skipped where it is absent."""
    path = ROOT.parent / "shared" / "recorded"
    if not (path / "btcusdt_20240808.gz").exists():
        pytest.skip("no recorded venue traffic beside this checkout (../shared/recorded)")
    return path


@pytest.fixture(scope="session")
def node() -> list[str]:
    """The command that runs a script with Node's own WebSocket; skipped where there is none."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed")
    for flags in ([], ["--experimental-websocket"]):
        probe = [found, *flags, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"]
        if subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0:
            return [found, *flags]
    pytest.skip("this Node.js has no WebSocket of its own (version 20.10 or newer has)")
