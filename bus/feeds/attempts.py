"""How often this address may try to connect to one venue: shared by all feeds of the host.

The strictest venue known allows 300 attempts in 5 minutes from one address; half of that is taken,
as others may share it. The backoff alone does not keep inside when a server takes connections,
sends something and cuts them, and it knows nothing of the other processes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bus.feeds.budget import AttemptLedger
from bus.feeds.shared_file import Busy, Shared

ATTEMPTS: Final = 150
WINDOW_S: Final = 300.0
BUSY_S: Final = 0.02


class AttemptBudget:
    """Attempts to connect, counted together with every process that names the same file."""

    def __init__(
        self, limit: int = ATTEMPTS, window_s: float = WINDOW_S, path: Path | None = None
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._shared = Shared(AttemptLedger, path)
        self.waits = 0

    def take(self) -> float:
        """0: an attempt may be made now, and is counted. Else ask again in so many seconds."""
        try:
            wait_s = self._shared.change(
                lambda ledger: ledger.take(self._limit, self._window_s, time.time())
            )
        except Busy:
            return BUSY_S
        self.waits += wait_s > 0
        return wait_s

    def refused(self, retry_after_s: float) -> None:
        """The venue refuses this address (429, 418): no process connects for so long."""
        try:
            self._shared.change(lambda ledger: ledger.refused(retry_after_s, time.time()))
        except Busy:  # whoever refused us refuses the others as well: they will note it
            return
