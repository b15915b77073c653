"""A whole bus of real processes, started by the real command line, for end-to-end tests."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bus.testing import wait_until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningBus:
    """One bus: its run directory, its port, and the command line that speaks to it."""

    run_dir: Path
    port: int
    config: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "supervisor.py"), *words]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MDBUS_RUN_DIR": str(self.run_dir), "PYTHONPATH": str(ROOT)}

    def cli(self, *words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def up(self, *settings: str) -> subprocess.CompletedProcess[str]:
        """Start it, with settings (``key=value``) that outdo those of its file."""
        words = [word for one in settings for word in ("--set", one)]
        done = self.cli("up", "--detach", "--config", str(self.config), *words)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def down(self) -> None:
        self.cli("down")
        wait_until(lambda: not self.processes(), 15, "every process of the bus gone")

    def status(self) -> dict[str, Any]:
        done = self.cli("status", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def process(self, name: str) -> dict[str, Any]:
        return next(row for row in self.status()["processes"] if row["name"] == name)

    def processes(self) -> list[psutil.Process]:
        """Every living process of this bus, found by its run directory."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                mine = process.environ().get("MDBUS_RUN_DIR") == str(self.run_dir)
            except psutil.Error:
                continue
            if mine and any("bus" in word or "supervisor.py" in word for word in words):
                found.append(process)
        return found

    def kill(self, name: str) -> int:
        """``kill -9`` one process; the pid it had."""
        pid: int = self.process(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready_again(self, name: str, old_pid: int, timeout_s: float = 30) -> float:
        """Seconds from now until ``name`` is ready under another pid."""
        start = time.monotonic()

        def ready_again() -> bool:
            row = self.process(name)
            return row["state"] == "ready" and row["pid"] not in (None, old_pid)

        wait_until(ready_again, timeout_s, f"{name} ready again")
        return time.monotonic() - start

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.run_dir.rglob("*.log"))
        )


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different, and of those that the kernel gives to
    nobody by itself: one that it does may be another test's before it is used here."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first_given = int(given.read_text().split()[0]) if given.exists() else 32_768
    found: list[int] = []
    for port in random.sample(range(10_000, first_given), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports among 200")


@contextmanager
def making_buses() -> Iterator[Callable[..., RunningBus]]:
    """A function that makes a bus (not started) with a configuration of its own; all end here."""
    made: list[RunningBus] = []

    def make(extra: str = "") -> RunningBus:
        run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
        port, binance, finnhub = free_ports(3)
        config = run_dir / "mdbus.toml"
        config.write_text(
            f'run_dir = "{run_dir}"\n'
            f"{extra}\n"
            f"[bridge]\nport = {port}\ndrain_s = 3.0\n"
            f"[simulator]\nports.binance = {binance}\nports.finnhub = {finnhub}\n"
            "ports.coinbase = 0\nports.kraken = 0\n"
            "news_interval_s = 1.0\n"
            "[feeds.finnhub]\nnews_poll_s = 6.0\n"
        )
        bus = RunningBus(run_dir, port, config)
        made.append(bus)
        return bus

    try:
        yield make
    finally:
        for bus in made:
            if bus.processes():
                bus.down()
            shutil.rmtree(bus.run_dir, ignore_errors=True)
