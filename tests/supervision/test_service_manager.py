"""What systemd hears, said to a socket of our own."""

from __future__ import annotations

import configparser
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.supervision.service_manager import ServiceManager, unit_file
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
    assert manager.read() == [
        *("READY=1", "STATUS=6 of 6 processes ready", "STATUS=5 of 6 processes ready"),
        *("WATCHDOG=1",) * 3,
        *("RELOADING=1", "MONOTONIC_USEC=12345", "STOPPING=1", "STATUS=stopping"),
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
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: "READY=1" in manager.read(), 30, "ready")
    assert "STATUS=5 of 5 processes ready" in manager.told
    before = manager.told.count("WATCHDOG=1")
    wait_until(lambda: manager.read().count("WATCHDOG=1") > before + 1, 20, "alive")
    bus.send_signal(signal.SIGTERM)
    _, errors = bus.communicate(timeout=30)
    assert bus.returncode == 0, errors
    assert "STOPPING=1" in manager.read()


def test_the_unit_file_is_one_of_type_notify() -> None:
    text = unit_file("/opt/mdbus/bin/python", "/etc/mdbus.toml")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    service = parser["Service"]
    command = "/opt/mdbus/bin/python -P -m bus.supervision up --config /etc/mdbus.toml"
    assert service["ExecStart"] == command
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert service["RestartPreventExitStatus"] == "2", "the exit code of wrong settings"
