"""CPU and memory of each process, sampled on the supervisor's tick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_EVERY_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU over the last sampling interval, in percent of one core; resident memory now."""

    cpu_percent: float
    rss_bytes: int
    fds: int
    threads: int


class Figures:
    """The sampled processes by name."""

    def __init__(self) -> None:
        self._processes: dict[str, psutil.Process] = {}
        self._cpu_percent: dict[str, float] = {}
        self._ticks: dict[str, int] = {}

    def sample(self, name: str, pid: int) -> bool:
        """Call on every tick; takes the CPU figure on every fourth one, and then returns True."""
        ticks = self._ticks[name] = self._ticks.get(name, -1) + 1
        if ticks % _EVERY_TICKS:
            return False
        try:
            process = self._processes.get(name)
            if process is None or process.pid != pid:
                process = self._processes[name] = psutil.Process(pid)
            self._cpu_percent[name] = process.cpu_percent(None)
        except psutil.Error:
            self.forget(name)
            return False
        return True

    def forget(self, name: str) -> None:
        """The process has ended."""
        for table in (self._processes, self._cpu_percent, self._ticks):
            table.pop(name, None)

    def usage(self, name: str, pid: int) -> Usage | None:
        """The figures of a running process; None when it is gone."""
        process = self._processes.get(name)
        if process is None or process.pid != pid:  # the first question, or a new generation
            self.forget(name)
            self.sample(name, pid)
            process = self._processes.get(name)
        if process is None:
            return None
        try:
            with process.oneshot():
                return Usage(
                    cpu_percent=round(self._cpu_percent.get(name, 0.0), 1),
                    rss_bytes=process.memory_info().rss,
                    fds=open_fds(pid),
                    threads=process.num_threads(),
                )
        except psutil.Error:
            return None


def open_fds(pid: int) -> int:
    """How many descriptors a process has open, as far as this one may see; else 0.

    Since Linux 6.2 the size of the directory says it; a bridge may have thousands to list.
    """
    path = Path(f"/proc/{pid}/fd")
    try:
        return path.stat().st_size or sum(1 for _ in path.iterdir())
    except OSError:
        return 0
