"""Our supervisor beside circus and supervisord: ``python -m bench.supervision``.

The peers are installed, pinned, into a throw-away virtual environment (this needs a package index)
and run with their default settings, on the same programs. Rows:

* ``running``: from ``kill -9`` of a child to the first instruction of its successor (a shell that
  writes its pid and becomes the program)
* ``ready``: from the same kill until the program, Python with asyncio and pyzmq, serves
* ``stopped``: a child that gets SIGSTOP: how long until it is replaced
* ``killed``: the manager gets ``kill -9``: children alive a second later; how many run (of 3) once
  it was started again; how many are left after that one was stopped
* ``grandchild``: a child whose own child ignores SIGTERM, and the manager is stopped: left over
* ``crash loop``: a child that exits with 1 at once: how often it is started, and what is said of it
* ``idle``: CPU and memory (PSS: shared pages count by share) of the manager with five children

and of ours alone, on the bus itself: restarts of its real workers from a spare, from the template
and from neither; how long the whole bus takes to start and how much memory it holds; 40 rolling
restarts of the bridges while clients connect without pause; the status command.

Restarts of ours count as stable after one second here (supervisord's own default), and the limit of
crashes in a window is lifted: twenty kills in a row are a crash loop otherwise. Times are of a busy
or an idle machine as it is: read them beside each other. Python may keep compiled code, as it does
for an installed program, whatever the environment says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from bench.managers import (
    PINNED,
    ROOT,
    Circus,
    Manager,
    Mdbus,
    Supervisord,
    peers_venv,
    wait_for,
    with_bytecode,
)
from bench.rolling import roll_under_load
from bus.supervision.control_client import RefusedError, ask

PROGRAM: Final = ROOT / "bench" / "supervised.py"
STABLE_S: Final = 1.6
MANAGERS: Final = ("mdbus", "circus", "supervisord")
HANG_LIMIT_S: Final = 15.0
WORKERS: Final = ("broker", "bridge.1", "feed.binance", "feed.finnhub")
SOURCES: Final = {
    "from a spare": ("supervisor.spares=1",),
    "from the template": ("supervisor.spares=0",),
    "from neither": ("supervisor.template=false",),
}
"""What a successor is made from, and the settings that have it so."""

Make = Callable[[Path, dict[str, list[str]]], Manager]


@dataclass
class Row:
    """One line of the table: what was measured, and a text for each manager."""

    what: str
    cells: dict[str, str] = field(default_factory=dict)


def program(file: Path, behaviour: str = "well") -> list[str]:
    """A shell that notes its pid in ``file`` and becomes the program."""
    script = file.with_name(f"{file.name}.sh")
    script.write_text(
        f'#!/bin/sh\necho "$$" >> {file}\nexport PYTHONPATH={ROOT}\n'
        f"exec {sys.executable} {PROGRAM} {behaviour} {file}\n"
    )
    script.chmod(0o755)
    return [str(script)]


def pids_of(file: Path) -> list[int]:
    try:
        return [int(line) for line in file.read_text().split()]
    except FileNotFoundError:
        return []


def ready_pid(file: Path) -> int:
    try:
        return int(Path(f"{file}.ready").read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def served(file: Path, timeout_s: float = 30.0) -> int:
    """Wait until the program of ``file`` serves; its pid."""
    ok = wait_for(lambda: ready_pid(file) and ready_pid(file) == pids_of(file)[-1], timeout_s, 0.01)
    if not ok:
        raise SystemExit(f"{file.name} did not come to serve within {timeout_s:g} s")
    return ready_pid(file)


def kills(make: Make, directory: Path, rounds: int) -> tuple[str, str]:
    """Median and greatest time from kill to running and to ready, in ms."""
    file = directory / "child"
    directory.mkdir(parents=True)
    manager = make(directory, {"child": program(file)})
    running, ready = [], []
    try:
        manager.start()
        for _ in range(rounds):
            served(file)
            time.sleep(STABLE_S)
            times = one_kill(file)
            running.append(times[0])
            ready.append(times[1])
        manager.stop()
    finally:
        manager.remove()
    return _times(running), _times(ready)


def one_kill(file: Path) -> tuple[float, float]:
    """Kill the program of ``file``: ms to its successor's first instruction, and to its serving."""
    pid, known = ready_pid(file), len(pids_of(file))
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(pids_of(file)) > known, 30)
    running_ms = (time.monotonic() - begun) * 1e3
    wait_for(lambda: ready_pid(file) not in (0, pid), 30)
    return running_ms, (time.monotonic() - begun) * 1e3


def stopped_child(make: Make, directory: Path) -> str:
    file = directory / "child"
    directory.mkdir(parents=True)
    manager = make(directory, {"child": program(file)})
    try:
        manager.start()
        pid = served(file)
        time.sleep(STABLE_S)
        begun = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        if wait_for(lambda: ready_pid(file) != pid, HANG_LIMIT_S, 0.01):
            return f"replaced in {time.monotonic() - begun:.1f} s"
        return f"not in {HANG_LIMIT_S:.0f} s, says {manager.state('child')!r}"
    finally:
        manager.remove()


def killed_manager(make: Make, directory: Path) -> tuple[str, str, str]:
    files = [directory / f"child{number}" for number in range(3)]
    directory.mkdir(parents=True)
    manager = make(directory, {file.name: program(file) for file in files})
    try:
        manager.start()
        for file in files:
            served(file)
        manager.kill()
        time.sleep(1.0)
        alive = len(manager.living(str(PROGRAM)))
        manager.start()
        time.sleep(4.0)
        again = len(manager.living(str(PROGRAM)))
        manager.stop()
        time.sleep(1.0)
        return str(alive), str(again), str(len(manager.living(str(PROGRAM))))
    finally:
        manager.remove()


def stubborn_grandchild(make: Make, directory: Path) -> str:
    file = directory / "child"
    directory.mkdir(parents=True)
    manager = make(directory, {"child": program(file, "family")})
    try:
        manager.start()
        served(file)
        wait_for(lambda: manager.living("SIG_IGN"), 10, 0.02)
        manager.stop()
        time.sleep(1.0)
        return f"{len(manager.living('SIG_IGN'))} left"
    finally:
        manager.remove()


def crash_loop(make: Make, directory: Path, seconds: float) -> str:
    file = directory / "child"
    directory.mkdir(parents=True)
    script = directory / "crash.sh"
    script.write_text(f'#!/bin/sh\necho "$$" >> {file}\nexit 1\n')
    script.chmod(0o755)
    manager = make(directory, {"child": [str(script)]})
    try:
        manager.start()
        wait_for(lambda: pids_of(file), 10, 0.01)
        time.sleep(seconds)
        starts = len(pids_of(file))
        return f"{starts} starts, says {manager.state('child')!r}"
    finally:
        manager.remove()


def idle(make: Make, directory: Path, seconds: float) -> str:
    files = [directory / f"child{number}" for number in range(5)]
    directory.mkdir(parents=True)
    manager = make(directory, {file.name: program(file) for file in files})
    try:
        manager.start()
        for file in files:
            served(file)
        time.sleep(3.0)
        assert manager.process is not None
        process = psutil.Process(manager.process.pid)
        begun, before_ns = time.monotonic(), cpu_ns(process.pid)
        time.sleep(seconds)
        cpu = (cpu_ns(process.pid) - before_ns) / (time.monotonic() - begun) / 1e7
        pss = process.memory_full_info().pss / 1048576
        manager.stop()
        return f"{cpu:.3f} % CPU, {pss:.1f} MiB"
    finally:
        manager.remove()


def cpu_ns(pid: int) -> int:
    """What the scheduler has given to all threads of a process: clock ticks of 10 ms are more than
    an idle manager takes in a minute.
    """
    stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats)


def beside_peers(names: Sequence[str], work: Path, rounds: int, seconds: float) -> list[Row]:
    """Every row for every manager named, one manager after the other."""
    binaries = peers_venv(work / "venv") if {*names} - {"mdbus"} else work
    makers: dict[str, Make] = {
        "mdbus": Mdbus,
        "circus": lambda directory, commands: Circus(directory, commands, binaries),
        "supervisord": lambda directory, commands: Supervisord(directory, commands, binaries),
    }
    texts = (
        f"kill -9 -> running, ms (median, most of {rounds})",
        f"kill -9 -> ready, ms (median, most of {rounds})",
        "SIGSTOP of a child",
        "manager killed -9: children alive after 1 s (of 3)",
        "  started again: children running (want 3)",
        "  stopped: children left",
        "stopped: grandchildren that ignore SIGTERM",
        f"crash loop, {seconds:.0f} s",
        "idle, five children",
    )
    rows = [Row(text) for text in texts]
    for name in names:
        make = makers[name]
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        cells = [
            *kills(make, work / f"{name}-kill", rounds),
            stopped_child(make, work / f"{name}-stop"),
            *killed_manager(make, work / f"{name}-killed"),
            stubborn_grandchild(make, work / f"{name}-family"),
            crash_loop(make, work / f"{name}-loop", seconds),
            idle(make, work / f"{name}-idle", seconds),
        ]
        for row, cell in zip(rows, cells, strict=True):
            row.cells[name] = cell
    return rows


class Bus:
    """The bus itself, simulated, in the background."""

    def __init__(self, run_dir: Path, *settings: str) -> None:
        self.run_dir = run_dir
        ports = ("bridge.port=0", "simulator.ports.binance=0", "simulator.ports.finnhub=0")
        self._settings = [word for item in (*ports, *settings) for word in ("--set", item)]

    def __enter__(self) -> Bus:
        self._run("up", "--detach", *self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("down")

    def _run(self, *words: str) -> None:
        command = [sys.executable, "-P", "-m", "bus.supervision", *words]
        subprocess.run(
            [*command, "--run-dir", str(self.run_dir)],
            env={**with_bytecode(os.environ), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def row(self, name: str) -> dict[str, Any]:
        rows = ask(self.run_dir, "status")["processes"]
        found: dict[str, Any] = next(row for row in rows if row["name"] == name)
        return found

    def spare_is_there(self) -> bool:
        status = ask(self.run_dir, "status")
        spares, template = status["spares"], status["template"]
        is_imported = template["pid"] is None or template["ready"]
        return bool(is_imported and spares["ready"] >= spares["wanted"])

    def up_ms(self) -> float:
        """From the supervisor's first word until the last process was ready."""
        events = self._events()
        begun = next(e["at_ns"] for e in events if e["kind"] == "begun")
        ready = max(e["at_ns"] for e in events if e["kind"] == "ready")
        return float(ready - begun) / 1e6

    def pss_mib(self) -> float:
        """Memory of the supervisor and of all it has started; shared pages count by share."""
        supervisor = psutil.Process(ask(self.run_dir, "status")["pid"])
        family = [supervisor, *supervisor.children(recursive=True)]
        return float(sum(process.memory_full_info().pss for process in family)) / 1048576

    def killed_to_ready_ms(self, name: str) -> float:
        """Kill a process that is stable, with a spare at hand if there are spares."""
        wait_for(lambda: time.time_ns() - self._last_ready_ns(name) > STABLE_S * 1e9, 30, 0.1)
        wait_for(self.spare_is_there, 30, 0.1)
        pid = int(self.row(name)["pid"])
        begun_ns = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        return (self.ready_since(name, pid) - begun_ns) / 1e6

    def ready_since(self, name: str, pid: int) -> int:
        """The wall time (ns) at which ``name``'s successor of ``pid`` said that it serves."""
        if not wait_for(lambda: self._renewed(name, pid), 30, 0.05):
            raise SystemExit(f"{name} did not come back")
        return self._last_ready_ns(name)

    def _last_ready_ns(self, name: str) -> int:
        ready = (e for e in self._events() if e["process"] == name and e["kind"] == "ready")
        return int(max(e["at_ns"] for e in ready))

    def _events(self) -> list[dict[str, Any]]:
        lines = (self.run_dir / "log" / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _renewed(self, name: str, pid: int) -> bool:
        row = self.row(name)
        return bool(row["state"] == "ready" and row["pid"] != pid)


def worker_restarts(run_dir: Path, source: str, rounds: int) -> list[Row]:
    """Kill to ready of the bus's own workers, as the supervisor's events tell it."""
    settings = (*SOURCES[source], "supervisor.stable_after_s=1.0", "supervisor.crash_limit=10000")
    with Bus(run_dir, *settings) as bus:
        rows = [Row(f"up, all ready, {source}, ms", {"": f"{bus.up_ms():.0f}"})]
        wait_for(bus.spare_is_there, 30, 0.1)
        time.sleep(STABLE_S)
        rows.append(Row(f"memory of it all, {source}, MiB", {"": f"{bus.pss_mib():.0f}"}))
        for name in WORKERS:
            times = [bus.killed_to_ready_ms(name) for _ in range(rounds)]
            rows.append(Row(f"kill -9 -> ready, {name}, {source}, ms", {"": _times(times)}))
    return rows


def on_the_bus(work: Path, rounds: int, rolls: int) -> list[Row]:
    """The rows of ours alone."""
    print("measuring the bus itself ...", file=sys.stderr, flush=True)
    rows = []
    for number, source in enumerate(SOURCES):
        rows += worker_restarts(work / f"source{number}", source, rounds)
    with Bus(work / "roll", "bridge.drain_s=0.2") as bus:
        times = []
        for _ in range(rounds):
            begun = time.monotonic()
            subprocess.run(
                [
                    *(sys.executable, "-P", "-m", "bus.supervision"),
                    *("status", "--run-dir", str(bus.run_dir)),
                ],
                env={**with_bytecode(os.environ), "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            times.append((time.monotonic() - begun) * 1e3)
        rows.append(Row("the status command, ms", {"": _times(times)}))
        url = ask(bus.run_dir, "status")["endpoints"]["http"]
        port = int(url.rpartition(":")[2])

        def roll() -> None:
            ask(bus.run_dir, "restart", names=["bridge"], wait_s=120, timeout_s=100)

        load = roll_under_load(port, rolls // 2, roll, clients=3)
        what = f"{rolls} bridges replaced under load: failed of all connections"
        text = f"{load.failed} of {load.connected + load.failed:,}"
        rows.append(Row(what, {"": text + "".join(f"; {why}" for why in load.reasons[:3])}))
    return rows


def _times(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}, {max(values):.1f}"


def table(rows: list[Row]) -> str:
    names = list(rows[0].cells)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [f"| {row.what} | " + " | ".join(row.cells[n] for n in names) + " |" for row in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="kills for each time (20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of crash loop and idling (20)")
    parser.add_argument("--rolls", type=int, default=40, help="bridges replaced under load (40)")
    parser.add_argument("--only", choices=MANAGERS, action="append", help="of the managers")
    parser.add_argument("--skip-peers", action="store_true", help="only the bus itself")
    parser.add_argument("--skip-bus", action="store_true", help="only beside the peers")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="mdb-"))
    found: dict[str, list[Row]] = {}
    try:
        if not arguments.skip_peers:
            names = arguments.only or MANAGERS
            rounds, seconds = arguments.rounds, arguments.seconds
            found["beside peers"] = beside_peers(names, work, rounds, seconds)
        if not arguments.skip_bus:
            found["the bus"] = on_the_bus(work, arguments.rounds, arguments.rolls)
    except RefusedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if arguments.json:
        print(json.dumps({part: [vars(row) for row in rows] for part, rows in found.items()}))
        return 0
    load1 = os.getloadavg()[0]
    print(
        f"\nPython {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    )
    print(f"{', '.join(PINNED)}; load at the end {load1:.1f}\n")
    for rows in found.values():
        print(table(rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
