"""Which connections have let their time pass, without looking at all of them.

Pure: times in, connections out. Deadlines nearly always move on (a pong came, so the next ping is
due later), so a connection is filed once in a slot of time and moved only when its slot has come or
its deadline has moved forward. A turn therefore costs what is due in it, not what is connected: a
walk over 4,000 sockets 20 times a second was a fiftieth of a core. A connection is given out no
more than one slot late and never early. A clock that is set back costs one walk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_SLOT_BITS: Final = 25
SLOT_NS: Final = 1 << _SLOT_BITS
"""34 ms: less than a turn of the bridge."""

TimedT = TypeVar("TimedT")


class Deadlines(Generic[TimedT]):
    """Bounded by the number of connections, which are hashable: each is filed once.

    ``deadline_of`` tells the time by which something has to have happened, in nanoseconds of the
    clock that ``now_ns`` is of.
    """

    def __init__(self, now_ns: int, deadline_of: Callable[[TimedT], int]) -> None:
        self._next = now_ns >> _SLOT_BITS
        self._deadline_of = deadline_of
        self._slots: dict[int, dict[int, None]] = {}
        self._slot_of: dict[int, int] = {}
        self._connections: dict[int, TimedT] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def watch(self, connection: TimedT) -> None:
        """File it, or file it anew after its deadline has changed."""
        self._file(connection, self._next)

    def forget(self, connection: TimedT) -> None:
        """It is gone. Idempotent."""
        number = id(connection)
        if self._connections.pop(number, None) is not None:
            self._take(number, self._slot_of.pop(number))

    def due(self, now_ns: int, most: int = sys.maxsize) -> list[TimedT]:
        """Those whose deadline has passed, at most so many; each is given out again in a later
        slot's call until its deadline is moved or it is forgotten."""
        end = now_ns >> _SLOT_BITS
        if end < self._next - 1:
            self._start_anew(end)
        found: list[TimedT] = []
        while self._next < end:
            members = self._slots.get(self._next, {})
            while members:
                if len(found) == most:
                    return found
                connection = self._connections[next(iter(members))]
                self.forget(connection)
                self._file(connection, end)
                if self._deadline_of(connection) <= now_ns:
                    found.append(connection)
            self._next += 1
        return found

    def _start_anew(self, slot: int) -> None:
        connections = list(self._connections.values())
        self._next = slot
        for known in (self._slots, self._slot_of, self._connections):
            known.clear()
        for connection in connections:
            self.watch(connection)

    def _file(self, connection: TimedT, earliest: int) -> None:
        slot = max(self._deadline_of(connection) >> _SLOT_BITS, earliest)
        number = id(connection)
        filed = self._slot_of.get(number)
        if filed is not None:
            if filed <= slot:
                return  # it is looked at then, and filed on
            self._take(number, filed)
        self._connections[number] = connection
        self._slot_of[number] = slot
        self._slots.setdefault(slot, {})[number] = None

    def _take(self, number: int, slot: int) -> None:
        members = self._slots[slot]
        del members[number]
        if not members:
            del self._slots[slot]
