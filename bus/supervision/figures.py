"""CPU and memory of each process, for its ceilings and for whoever asks.

Read from ``/proc/PID/stat``, one file for all: a supervisor that has nothing to do spends much of
its time here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.clock import NS_PER_SECOND, monotonic_ns

_WINDOW_NS: Final = NS_PER_SECOND
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
class _Window:
    """Where the CPU figure of one process is counted from. Clock ticks since boot, and of CPU."""

    started_ticks: int
    cpu_ticks: int
    at_ns: int
    cpu_percent: float = 0.0


class Figures:
    """The processes looked at, by name. ``now_ns`` is a monotonic clock."""

    def __init__(self, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._now_ns = now_ns
        self._windows: dict[str, _Window] = {}

    def look(self, name: str, pid: int) -> Usage | None:
        """The figures of a running process; None when it is gone.

        The CPU is that since the last look, if it was a second ago at least; else that of then.
        """
        fields = _stat_of(pid)
        if fields is None:
            self.forget(name)
            return None
        now_ns, started = self._now_ns(), int(fields[_STARTED])
        cpu_ticks = int(fields[_UTIME]) + int(fields[_STIME])
        window = self._windows.get(name)
        if window is None or window.started_ticks != started:
            window = self._windows[name] = _Window(started, cpu_ticks, now_ns)
        elif now_ns - window.at_ns >= _WINDOW_NS:
            used_s = (cpu_ticks - window.cpu_ticks) / _TICKS_A_SECOND
            window.cpu_percent = round(used_s / (now_ns - window.at_ns) * 1e11, 1)
            window.cpu_ticks, window.at_ns = cpu_ticks, now_ns
        return Usage(
            cpu_percent=window.cpu_percent,
            rss_bytes=int(fields[_RSS]) * _PAGE_BYTES,
            fds=open_fds(pid),
            threads=int(fields[_THREADS]),
        )

    def forget(self, name: str) -> None:
        """The process has ended."""
        self._windows.pop(name, None)


def _stat_of(pid: int) -> list[bytes] | None:
    """The fields of a living process's ``stat`` from its state on; None when it is gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fields = os.read(fd, 4_096).rpartition(b")")[2].split()
        finally:
            os.close(fd)
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
