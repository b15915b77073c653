"""CPU and memory of each process, sampled on the supervisor's tick."""

from __future__ import annotations

from dataclasses import dataclass
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

    def sample(self, name: str, pid: int) -> None:
        """Call on every tick; takes the CPU figure of every fourth one."""
        ticks = self._ticks[name] = self._ticks.get(name, -1) + 1
        if ticks % _EVERY_TICKS:
            return
        try:
            process = self._processes.get(name)
            if process is None or process.pid != pid:
                process = self._processes[name] = psutil.Process(pid)
            self._cpu_percent[name] = process.cpu_percent(None)
        except psutil.Error:
            self.forget(name)

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
                    fds=process.num_fds(),
                    threads=process.num_threads(),
                )
        except psutil.Error:
            return None
