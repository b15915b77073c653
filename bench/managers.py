"""Process managers under one roof, for `bench.supervision`: ours, circus and supervisord.

Each runs the same programs. Everything of one run carries a mark in its environment, by which what
is left of it is found and, at the end, removed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
MARK: Final = "MDBUS_BENCH_MARK"
PINNED: Final = ("circus==0.19.0", "supervisor==4.3.0")


def peers_venv(directory: Path) -> Path:
    """A throw-away virtual environment with the peers in it; its ``bin`` directory."""
    venv.create(directory, with_pip=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    # circus imports tornado and pyzmq, supervisord's console pkg_resources
    subprocess.run([*pip, "install", *PINNED, "setuptools<81"], check=True)
    return directory / "bin"


def with_bytecode(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the wish that Python keep no compiled code: an installed program has
    it, and compiling at every start would be measured instead of starting.
    """
    return {key: text for key, text in environment.items() if key != "PYTHONDONTWRITEBYTECODE"}


class Manager:
    """One process manager at work in a directory of its own. ``commands`` maps name to argv."""

    name = ""
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self, directory: Path, commands: dict[str, list[str]]) -> None:
        self.directory = directory
        self.commands = commands
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.mark = f"{directory}"

    def argv(self) -> list[str]:
        """What starts it in the foreground."""
        raise AssertionError

    def state(self, name: str) -> str:
        """What it says of one process."""
        raise AssertionError

    def start(self) -> None:
        with (self.directory / "out").open("ab") as out:
            self.process = subprocess.Popen(
                self.argv(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**with_bytecode(os.environ), MARK: self.mark, **self.environment},
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop it as an operator would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def living(self, of: str = "") -> list[psutil.Process]:
        """The marked processes that live, the manager itself left out; those whose command line
        holds ``of``.
        """
        own = self.process.pid if self.process is not None else -1
        return [
            process
            for process in marked(self.mark)
            if process.pid != own and of in " ".join(_cmdline(process))
        ]

    def remove(self) -> None:
        """Kill whatever is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for process in marked(self.mark):
            process.kill()


def marked(mark: str) -> list[psutil.Process]:
    """Living processes (no zombies) with this mark in their environment."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for pid in psutil.pids():
        try:
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Mdbus(Manager):
    """Ours. A process counts as stable after a second, as supervisord's does by default; and twenty
    kills within ten minutes, which are a crash loop by default, are none here: the others know of
    no such limit.
    """

    name = "mdbus"
    environment: Mapping[str, str] = MappingProxyType({"PYTHONPATH": str(ROOT)})
    """Not for the others: ``supervisor`` is a name of ours, too."""
    settings: tuple[str, ...] = (
        "supervisor.stable_after_s=1.0",
        "supervisor.crash_limit=10000",
        "bridge.port=0",
        "simulator.ports.binance=0",
        "simulator.ports.finnhub=0",
    )

    def argv(self) -> list[str]:
        plan = json.dumps(self.commands)
        settings = (f"run_dir={self.directory / 'run'}", *self.settings)
        return [sys.executable, "-P", "-m", "bench.ours", plan, *settings]

    def state(self, name: str) -> str:
        from bus.supervision.control_client import ask

        rows = ask(self.directory / "run", "status")["processes"]
        return str(next(row["state"] for row in rows if row["name"] == name))


class Circus(Manager):
    """circus with its default settings."""

    name = "circus"

    def __init__(self, directory: Path, commands: dict[str, list[str]], binaries: Path) -> None:
        super().__init__(directory, commands)
        self._binaries = binaries
        ipc = f"ipc://{directory}"
        lines = ["[circus]", f"endpoint = {ipc}/end", f"pubsub_endpoint = {ipc}/pub", ""]
        for name, command in commands.items():
            lines += [f"[watcher:{name}]", f"cmd = {_joined(command)}", "copy_env = True", ""]
        (directory / "circus.ini").write_text("\n".join(lines))

    def argv(self) -> list[str]:
        return [str(self._binaries / "circusd"), str(self.directory / "circus.ini")]

    def state(self, name: str) -> str:
        endpoint = f"ipc://{self.directory}/end"
        command = [str(self._binaries / "circusctl"), "--endpoint", endpoint, "status", name]
        return _said(command)


class Supervisord(Manager):
    """supervisord with its default settings."""

    name = "supervisord"

    def __init__(self, directory: Path, commands: dict[str, list[str]], binaries: Path) -> None:
        super().__init__(directory, commands)
        self._binaries = binaries
        socket = directory / "s.sock"
        lines = [
            *("[supervisord]", "nodaemon=true", f"pidfile={directory}/pid"),
            *(f"logfile={directory}/log", f"childlogdir={directory}", ""),
            *("[unix_http_server]", f"file={socket}", ""),
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            *("", "[supervisorctl]", f"serverurl=unix://{socket}", ""),
        ]
        for name, command in commands.items():
            lines += [f"[program:{name}]", f"command={_joined(command)}", "autorestart=true", ""]
        (directory / "s.ini").write_text("\n".join(lines))

    def argv(self) -> list[str]:
        return [str(self._binaries / "supervisord"), "-c", str(self.directory / "s.ini")]

    def state(self, name: str) -> str:
        config = str(self.directory / "s.ini")
        words = _said([str(self._binaries / "supervisorctl"), "-c", config, "status", name])
        return words.split()[1] if len(words.split()) > 1 else words


def _joined(command: Sequence[str]) -> str:
    return " ".join(command)


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return " ".join((done.stdout or done.stderr).split())


def wait_for(met: Callable[[], object], timeout_s: float, poll_s: float = 0.0005) -> bool:
    """Poll until ``met()``; False when it is not within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True
