"""How much one process may take before it is replaced: memory and file descriptors. Pure.

A process over a ceiling in `PATIENCE` looks in a row is to be replaced in good order, while it
still can be; one far over the memory ceiling is killed at once, before the kernel picks a victim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PATIENCE: Final = 3
"""Looks in a row over a ceiling before the process is replaced; one look every two seconds."""
FAR_OVER: Final = 1.5
"""This many times its memory ceiling, a process is not waited for."""
FDS_SHARE: Final = 0.9
"""Of the descriptors the system allows, when no ceiling is set."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The ceilings of one process; 0 for none."""

    rss_bytes: int
    fds: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A process is over its ceiling: in words, and whether it must end at once."""

    text: str
    at_once: bool


class Ceilings:
    """What the last looks found, by process."""

    def __init__(self) -> None:
        self._over: dict[str, int] = {}

    def look(self, name: str, rss_bytes: int, fds: int, limits: Limits) -> Excess | None:
        """Judge one look at a running process; None while nothing is to be done.

        After an excess was returned, counting begins anew.
        """
        text = _excess(rss_bytes, fds, limits)
        if not text:
            self._over.pop(name, None)
            return None
        at_once = bool(limits.rss_bytes) and rss_bytes >= limits.rss_bytes * FAR_OVER
        looks = self._over[name] = self._over.get(name, 0) + 1
        if looks < PATIENCE and not at_once:
            return None
        self.forget(name)
        return Excess(text, at_once)

    def forget(self, name: str) -> None:
        """The process has ended: what was counted does not concern the next one."""
        self._over.pop(name, None)


def fd_ceiling(configured: int, allowed: int) -> int:
    """The descriptors a process may have open: as configured, or nearly all it is allowed."""
    return configured or int(allowed * FDS_SHARE)


def _excess(rss_bytes: int, fds: int, limits: Limits) -> str:
    if limits.rss_bytes and rss_bytes >= limits.rss_bytes:
        return f"takes {_mib(rss_bytes)} of memory, the ceiling is {_mib(limits.rss_bytes)}"
    if limits.fds and fds >= limits.fds:
        return f"has {fds} descriptors open, the ceiling is {limits.fds}"
    return ""


def _mib(size: int) -> str:
    return f"{size / 1048576:.0f} MiB"
