"""What systemd hears, said to a socket of our own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.supervision.service_manager import ServiceManager
from bus.testing import wait_until
from tests.supervision.conftest import QUICK, ROOT


class Notified:
    """A service manager's socket and everything it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.told: list[str] = []

    def read(self) -> list[str]:
        while True:
            try:
                self.told += self._socket.recv(4_096).decode().split("\n")
            except BlockingIOError:
                return self.told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(run_dir: Path) -> Iterator[Notified]:
    notified = Notified(run_dir / "notify.sock")
    yield notified
    notified.close()


def test_the_environment_names_it_once(manager: Notified) -> None:
    environment = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/root",
    }
    told = ServiceManager.of_environment(environment)
    assert environment == {"HOME": "/root"}, "no child speaks for the bus"
    assert told.watchdog_s == 20.0
    assert told.to_environment() == {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "20000000",
    }
    told.close()


def test_another_processs_watchdog_is_not_ours(manager: Notified) -> None:
    environment = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "1000000",
        "WATCHDOG_PID": "1",
    }
    told = ServiceManager.of_environment(environment)
    assert told.watchdog_s == 0.0
    told.alive(1.0)
    assert manager.read() == []
    told.close()


def test_what_is_said(manager: Notified) -> None:
    told = ServiceManager(str(manager.path), 8.0)
    told.ready("6 of 6 processes ready")
    told.status("6 of 6 processes ready")
    told.status("5 of 6 processes ready")
    for tenth_s in range(41):
        told.alive(tenth_s / 10)
    told.reloading(12_345_000)
    told.stopping()
    told.busy(2.5)
    assert manager.read() == [
        *("READY=1", "STATUS=6 of 6 processes ready", "STATUS=5 of 6 processes ready"),
        *("WATCHDOG=1",) * 3,
        *("RELOADING=1", "MONOTONIC_USEC=12345", "STOPPING=1", "STATUS=stopping"),
        "EXTEND_TIMEOUT_USEC=2500000",
    ]
    told.close()


def test_a_manager_that_is_gone_is_no_trouble(manager: Notified) -> None:
    told = ServiceManager(str(manager.path))
    manager.path.unlink()
    told.ready("x")
    told.close()
    told.ready("after the end")


def test_without_one_nothing_is_said() -> None:
    told = ServiceManager.of_environment({})
    told.ready("x")
    told.alive(1.0)
    assert told.to_environment() == {}


def test_a_bus_tells_its_whole_life(manager: Notified, run_dir: Path) -> None:
    """As systemd runs it: type notify, with a watchdog."""
    (run_dir / "supervisor.pid").touch()  # as after a former run: tests keep files there too
    settings = [word for setting in QUICK[:3] for word in ("--set", setting)]
    bus = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "supervisor.py"), "up", "--run-dir", str(run_dir)),
            *("--workers", "1", *settings),
        ],
        env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "READY=1" in manager.read(), 30, "ready")
    assert "STATUS=5 of 5 processes ready" in manager.told
    busy = ("EXTEND_TIMEOUT", "STATUS=starting")
    asked = [line for line in manager.told if line.startswith(busy)]
    assert len(asked) > 1, "a start that gets on is not cut short, and says how far it is"
    assert manager.told.index("READY=1") > manager.told.index(asked[-1])
    before = manager.told.count("WATCHDOG=1")
    wait_until(lambda: manager.read().count("WATCHDOG=1") > before + 1, 20, "alive")
    bus.send_signal(signal.SIGTERM)
    shown, errors = bus.communicate(timeout=30)
    assert bus.returncode == 0, errors
    assert f"down --run-dir {run_dir}\n" in shown
    assert "Ctrl-C" not in shown
    assert "STOPPING=1" in manager.read()
    assert manager.told[-1] == "STATUS=everything is stopped"


def test_a_supervisor_that_is_aborted_says_where_it_was(run_dir: Path) -> None:
    """As systemd does with one whose watchdog is late."""
    bus = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "supervisor.py"), "up", "--run-dir", str(run_dir)),
            *(word for setting in QUICK for word in ("--set", setting)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert bus.stdout is not None
    for line in bus.stdout:
        if "waiting for" in line:
            break
    bus.send_signal(signal.SIGABRT)
    _, errors = bus.communicate(timeout=30)
    assert bus.returncode == -signal.SIGABRT
    assert "most recent call first" in errors
    assert "_run_once" in errors
