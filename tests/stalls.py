"""How long this machine kept a ready thread waiting: what a promise in seconds may be late by.

A promise of the product ("within a second") holds on a machine that gives it the processor. A
test that holds the product to its promise on a machine busy with other things measures those. So
it adds what a thread that only wants to wake up, thirty times a second, was late meanwhile.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

PERIOD_S: Final = 0.03
PROCESSES: Final = 4
"""A change passes through a few processes on its way, each of which waits its turn."""


class Stalls:
    """Watches from :meth:`start` (or ``with``) to :meth:`stop`."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def allowance_s(self, since_s: float, until_s: float | None = None) -> float:
        """Seconds by which a promise made at ``since_s`` (monotonic) may be late."""
        last_s = time.monotonic() if until_s is None else until_s
        return PROCESSES * sum(late for at, late in self._late if since_s <= at <= last_s + 0.1)

    def _watch(self) -> None:
        before_s = time.monotonic()
        while not self._over.wait(PERIOD_S):
            now_s = time.monotonic()
            self._late.append((now_s, max(0.0, now_s - before_s - PERIOD_S - 0.002)))
            before_s = now_s
