"""Clients that connect without pause, for whoever replaces the bridges meanwhile."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

UPGRADE: Final = (
    b"GET /ws/v1/ HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True)
class Load:
    """Connections that got their WebSocket, those that did not, and why not."""

    connected: int
    failed: int
    reasons: tuple[str, ...]


def roll_under_load(port: int, rounds: int, roll: Callable[[], None], *, clients: int) -> Load:
    """Call ``roll`` so many times while ``clients`` processes connect to ``port`` all the time."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    over = context.Event()
    processes = [
        context.Process(target=_connect, args=(port, results, over), daemon=True)
        for _ in range(clients)
    ]
    for process in processes:
        process.start()
    try:
        for _ in range(rounds):
            roll()
    finally:
        over.set()
    counted = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    reasons = tuple(why for _, failures in counted for why in failures)
    return Load(sum(ok for ok, _ in counted), len(reasons), reasons)


def _connect(port: int, results: Any, over: multiprocessing.synchronize.Event) -> None:
    connected, failures = 0, []
    while not over.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(UPGRADE)
                answer = connection.recv(4_096)
        except OSError as error:
            failures.append(repr(error))
            continue
        if answer.startswith(b"HTTP/1.1 101"):
            connected += 1
        else:
            failures.append(f"answered {answer[:40]!r}")
    results.put((connected, failures))
