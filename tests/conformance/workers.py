"""Real bridge workers as processes, as an operator runs them; all they log is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.testing import wait_until
from tests.wsbridge.conftest import ROOT


class Worker:
    """One process. ``log`` grows while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Until it serves."""
        wait_until(lambda: self._url("http") != "", 20, "the worker serves")
        self.ws_url = self._url("http").replace("http", "ws")
        self.http_url = self._url("http")
        self.admin_url = self._url("admin")
        self.port = int(self.http_url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(iter(self.process.stderr.readline, ""))

    def _url(self, name: str) -> str:
        for line in list(self.log):
            for word in line.split():
                if " ready" in line and word.startswith(f"{name}="):
                    return word.partition("=")[2]
        return ""

    def stop(self) -> None:
        """Stop it, and read its log to the end."""
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            if self.process.stderr is not None:
                self.process.stderr.close()


@contextmanager
def workers(run_dir: Path, settings: str, count: int = 1) -> Iterator[list[Worker]]:
    """``count`` workers of one host with these settings (TOML, tables from ``[bridge]`` on)."""
    config = run_dir / "mdbus.toml"
    config.write_text(f'run_dir = "{run_dir}"\nlog_level = "debug"\n{settings}\n')
    running: list[Worker] = []
    try:
        for number in range(1, count + 1):
            process = subprocess.Popen(
                [sys.executable, "-m", "bus.wsbridge", "--config", str(config),
                 "--name", f"bridge.{number}"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            running.append(Worker(process))
        for worker in running:
            worker.wait()
        yield running
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.stop()


def key_file(run_dir: Path, text: str) -> Path:
    """A key that only this user can read."""
    path = run_dir / "jwt.key"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path
