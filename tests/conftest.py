"""Fixtures shared by every test: both event loops, short run directories, recorded traffic."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Ask for this fixture to run an async test on both event loops."""
    kind: str = request.param
    return kind


@pytest.fixture
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The policy pytest-asyncio uses: uvloop where the test's ``loop_kind`` says so."""
    kind = "asyncio"
    if "loop_kind" in request.fixturenames:
        kind = request.getfixturevalue("loop_kind")
    if kind == "uvloop":
        return uvloop.EventLoopPolicy()
    return asyncio.DefaultEventLoopPolicy()


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
