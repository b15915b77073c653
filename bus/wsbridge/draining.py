"""Who leaves a draining bridge, and when: everybody is told, then each is closed in its turn.

Pure: ``now_s`` of a monotonic clock in. Each client has a place in a row. At its place it is to
open its next connection (``retry_after_ms``), and half of ``drain_s`` later its old one is closed,
so that whoever does as told is served by both for that long. The row takes the other half of
``drain_s``, or longer: neither more than :data:`~bus.config.bridge.CLOSES_PER_S` returns a second
nor more closes. Who comes in late joins the end of the row.

Bounded by the clients there are: each is in the row once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from bus.config.bridge import CLOSES_PER_S

ClientT = TypeVar("ClientT")

MAX_RETURN_MS: Final = 500
"""Who has waited to be closed comes back within this: closes are spread already."""
BRIEF_S: Final = 1.0
"""The most that a drain takes, beside the pace of the closes, when nobody comes in our place."""
_STEP_S: Final = 1.0 / CLOSES_PER_S
_MOST_AT_ONCE: Final = CLOSES_PER_S / 10
"""What is saved up of the closes of a time in which nobody was due."""


class Notice(NamedTuple):
    """What a client is told: when to open its next connection, and when this one ends."""

    retry_after_ms: int
    reconnect_within_ms: int


class Draining(Generic[ClientT]):
    """See the module."""

    def __init__(self, clients: Iterable[ClientT], drain_s: float, now_s: float) -> None:
        """Begin: :attr:`notices` has what each of ``clients`` is told, in a random order."""
        row = list(clients)
        random.shuffle(row)
        self._lead_s = drain_s / 2
        self._ends: deque[tuple[float, ClientT]] = deque()
        self._last_s = now_s
        self._looked_s = now_s
        self._allowed = 0.0
        step_s = max(_STEP_S, self._lead_s / len(row)) if row else _STEP_S
        self.notices = {
            client: self._place(client, now_s + step_s * (place + random.random()), now_s)
            for place, client in enumerate(row)
        }

    def join(self, client: ClientT, now_s: float) -> Notice:
        """One more client, at the end of the row: what it is told."""
        return self._place(client, max(self._last_s + _STEP_S, now_s), now_s)

    def _place(self, client: ClientT, at_s: float, now_s: float) -> Notice:
        self._last_s = at_s
        end_s = at_s + self._lead_s
        self._ends.append((end_s, client))
        return Notice(int((at_s - now_s) * 1000), int((end_s - now_s) * 1000))

    def due(self, now_s: float) -> list[ClientT]:
        """Whose connection is to be closed now, as many as may be; some may have left already."""
        passed = (now_s - self._looked_s) * CLOSES_PER_S
        self._looked_s = now_s
        self._allowed = min(self._allowed + passed, CLOSES_PER_S)
        found: list[ClientT] = []
        while self._ends and self._ends[0][0] <= now_s and self._allowed >= 1:
            self._allowed -= 1
            found.append(self._ends.popleft()[1])
        if not found:
            self._allowed = min(self._allowed, _MOST_AT_ONCE)
        return found

    @property
    def return_ms(self) -> int:
        """A random time for who is closed here to come back after."""
        return random.randint(0, min(MAX_RETURN_MS, int(self._lead_s * 1000)))
