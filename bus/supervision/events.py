"""What happened in the supervisor, as values: shown by ``up``, kept for queries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEPT_EVENTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Happening:
    """One event. ``process`` is empty for one of the supervisor itself; ``at_ns`` is wall time.

    ``kind`` is one of starting, ready, exited, restarting, hung, stopping, stopped, fatal,
    failing, waiting, note.
    """

    at_ns: int
    kind: str
    process: str
    text: str


class EventLog:
    """The last `KEPT_EVENTS` events, oldest dropped first, and whoever wants each as it comes."""

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT_EVENTS)
        self._listeners: list[Callable[[Happening], None]] = []

    def add(self, happening: Happening) -> None:
        """Keep ``happening`` and hand it to every listener, in order of arrival."""
        self._kept.append(happening)
        for listener in self._listeners:
            listener(happening)

    def listen(self, listener: Callable[[Happening], None]) -> None:
        """Call ``listener`` for every event from now on; it must not raise or block."""
        self._listeners.append(listener)

    def kept(self) -> tuple[Happening, ...]:
        """Every event still kept, oldest first."""
        return tuple(self._kept)
