"""Speaking with the client and the publisher, and reading what a server has used."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.fanout.servers import Stage
from bench.peers.rivals import NotHere

JOIN_S = 90.0
SETTLE_S = 5.0
_CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def start(stage: Stage, command: Sequence[str]) -> subprocess.Popen[str]:
    """Start one of them, on the core of those who are not measured."""
    return stage.help(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def await_ready(process: subprocess.Popen[str], stage: Stage) -> None:
    """Until it says so. Raises :class:`NotHere` when it ends, loses clients, or takes too long."""
    assert process.stdout is not None, "a pipe was asked for"
    ready, _, _ = select.select([process.stdout], [], [], JOIN_S)
    said = process.stdout.readline().strip() if ready else f"nothing in {JOIN_S:g} s"
    if said != "ready":
        raise NotHere(f"its clients could not all join: {said or stage.last_words()}")


def say(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    """Give a process a command; its answer. Raises :class:`NotHere` when it has ended."""
    assert process.stdin is not None, "a pipe was asked for"
    assert process.stdout is not None, "a pipe was asked for"
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
    except (BrokenPipeError, ValueError):
        raise NotHere("a process of this measurement ended early") from None
    return answer


def run(
    client: subprocess.Popen[str],
    publisher: subprocess.Popen[str],
    order: Mapping[str, float],
    clients: int,
) -> dict[str, int]:
    """Publish, and wait until everything has come or nothing more does; what the clients got."""
    before = say(client, "read")
    expected = say(publisher, json.dumps(order))["sent"] * clients
    got, moved = 0, time.monotonic()
    while True:
        now = say(client, "read")
        messages = now["messages"] - before["messages"]
        if messages != got:
            got, moved = messages, time.monotonic()
        if got >= expected or time.monotonic() - moved > SETTLE_S:
            break
        time.sleep(0.005)
    return {
        "expected": expected,
        **{name: now[name] - before[name] for name in ("messages", "bytes", "reads")},
    }


def cpu_s(pids: Sequence[int]) -> float:
    """User and system seconds of ``pids``, from /proc/<pid>/stat."""
    spent = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / _CLOCK_TICKS_PER_S
