"""Where every thread of a running process is, without stopping it.

The process is sent a signal that Python's fault handler answers in C, so that a blocked loop
answers too; what it wrote is read back from its log.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from bus.errors import MdbusError
from bus.runtime.guard import DUMP_SIGNAL
from bus.supervision.unit import Unit

POLL_S: Final = 0.005
MAX_BYTES: Final = 256 * 1024
_HEADS: Final = ("Thread 0x", "Current thread 0x")


class DumpError(MdbusError):
    """The stacks of a process cannot be had; the message says why."""


async def dump(unit: Unit, log_path: Path, timeout_s: float) -> str:
    """The stacks of the process's threads, as they are in its log too.

    Raises `DumpError` when it does not run, is not ready for it yet, or does not answer.
    """
    child = unit.child
    if child is None:
        raise DumpError(f"{unit.name} does not run: it is {unit.phase.value}")
    if not answers_dump(child.pid):
        raise DumpError(f"{unit.name} has only just been started: it cannot show its stacks yet")
    before = _size(log_path)
    child.send(DUMP_SIGNAL)
    seen = ""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                await asyncio.sleep(POLL_S)
                found = stacks_in(_read_from(log_path, before))
                # Nothing more has come since the last look, and not because it had to wait.
                if found and found == seen and not is_dumping(child.pid):
                    return found
                seen = found
    except TimeoutError:
        state = process_state(child.pid)
        stopped = " (it is stopped)" if state == "T" else ""
        raise DumpError(f"{unit.name} did not answer within {timeout_s:g} s{stopped}") from None


def stacks_in(text: str) -> str:
    """The stacks among the lines of a log: from the first thread on, without other lines."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith(_HEADS):
            if kept:
                kept.append("")
            inside = True
            kept.append(line)
        elif inside and line.startswith("  "):
            kept.append(line)
        else:
            inside = False
    return "\n".join(kept)


def answers_dump(pid: int) -> bool:
    """Whether the process has the signal's handler: without one the signal would end it."""
    return _signal_is_in(pid, "SigCgt")


def is_dumping(pid: int) -> bool:
    """Whether the process has the signal still before it, or is busy with it."""
    return _signal_is_in(pid, "SigPnd", "ShdPnd", "SigBlk")


def _signal_is_in(pid: int, *masks: str) -> bool:
    """Whether the signal is in one of those masks of the process's main thread, or of all."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    values = dict(line.split(":", 1) for line in text.splitlines())
    return any(int(values.get(mask, "0"), 16) >> (int(DUMP_SIGNAL) - 1) & 1 for mask in masks)


def process_state(pid: int) -> str:
    """The kernel's letter for the process's state (``T`` is stopped), empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read_from(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < offset:
                offset = 0  # set aside meanwhile: the fresh file has it all
            file.seek(offset)
            return file.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""
