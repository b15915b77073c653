"""CPU and memory of each process, sampled on the supervisor's tick.

Read from ``/proc/PID/stat``, one file for all: a supervisor that has nothing to do spends most of
its time here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.clock import monotonic_ns

_EVERY_TICKS: Final = 2
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# The fields behind the name in parentheses (man 5 proc_pid_stat, which counts from pid = 1).
_STATE, _UTIME, _STIME, _THREADS, _STARTED, _RSS = (field - 3 for field in (3, 14, 15, 20, 22, 24))


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU over the last sampling interval, in percent of one core; resident memory now."""

    cpu_percent: float
    rss_bytes: int
    fds: int
    threads: int


@dataclass(slots=True)
class _Sampled:
    """What the last sample of one process found. Clock ticks since boot, and of CPU."""

    pid: int
    started_ticks: int
    cpu_ticks: int
    at_ns: int
    cpu_percent: float = 0.0


class Figures:
    """The sampled processes by name. ``now_ns`` is a monotonic clock."""

    def __init__(self, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._now_ns = now_ns
        self._sampled: dict[str, _Sampled] = {}
        self._ticks: dict[str, int] = {}

    def sample(self, name: str, pid: int) -> bool:
        """Call on every tick; takes the CPU figure on every second one, and then returns True."""
        ticks = self._ticks[name] = self._ticks.get(name, -1) + 1
        if ticks % _EVERY_TICKS:
            return False
        fields = _stat_of(pid)
        if fields is None:
            self.forget(name)
            return False
        now_ns, started = self._now_ns(), int(fields[_STARTED])
        cpu_ticks = int(fields[_UTIME]) + int(fields[_STIME])
        last = self._sampled.get(name)
        sampled = self._sampled[name] = _Sampled(pid, started, cpu_ticks, now_ns)
        if last is not None and (last.pid, last.started_ticks) == (pid, started):
            passed_s = (now_ns - last.at_ns) / 1e9
            if passed_s > 0:
                used_s = (cpu_ticks - last.cpu_ticks) / _TICKS_A_SECOND
                sampled.cpu_percent = round(used_s / passed_s * 100, 1)
        return True

    def forget(self, name: str) -> None:
        """The process has ended."""
        self._sampled.pop(name, None)
        self._ticks.pop(name, None)

    def usage(self, name: str, pid: int) -> Usage | None:
        """The figures of a running process; None when it is gone."""
        fields = _stat_of(pid)
        if fields is None:
            return None
        sampled = self._sampled.get(name)
        known = sampled is not None and sampled.pid == pid
        return Usage(
            cpu_percent=sampled.cpu_percent if sampled is not None and known else 0.0,
            rss_bytes=int(fields[_RSS]) * _PAGE_BYTES,
            fds=open_fds(pid),
            threads=int(fields[_THREADS]),
        )


def _stat_of(pid: int) -> list[bytes] | None:
    """The fields of a living process's ``stat`` from its state on; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - 20 a second
            fields = file.read(4_096).rpartition(b")")[2].split()
    except OSError:
        return None
    return None if len(fields) <= _RSS or fields[_STATE] in (b"Z", b"X") else fields


def open_fds(pid: int) -> int:
    """How many descriptors a process has open, as far as this one may see; else 0.

    Since Linux 6.2 the size of the directory says it; a bridge may have thousands to list.
    """
    path = f"/proc/{pid}/fd"
    try:
        return os.stat(path).st_size or sum(1 for _ in Path(path).iterdir())  # noqa: PTH116
    except OSError:
        return 0
