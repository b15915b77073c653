"""Which connections have let their time pass, without looking at all of them.

Pure: times in, connections out. Deadlines nearly always move on (a pong came, so the next ping is
due later), so a connection is filed once in a slot of time and moved only when its slot has come or
its deadline has moved forward. A turn therefore costs what is due in it, not what is connected: a
walk over 4,000 sockets 20 times a second was a fiftieth of a core. A connection is given out no
more than one slot late and never early.
"""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

_SLOT_BITS: Final = 25
SLOT_NS: Final = 1 << _SLOT_BITS
"""34 ms: less than a turn of the bridge."""


class Timed(Protocol):
    """A connection: hashable, with the time by which something has to have happened."""

    deadline_ns: int


TimedT = TypeVar("TimedT", bound=Timed)


class Deadlines(Generic[TimedT]):
    """Bounded by the number of connections: each is filed once. Monotonic nanoseconds."""

    def __init__(self, now_ns: int) -> None:
        self._next = now_ns >> _SLOT_BITS
        self._slots: dict[int, dict[TimedT, None]] = {}
        self._slot_of: dict[TimedT, int] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def watch(self, connection: TimedT) -> None:
        """File it, or file it anew after its ``deadline_ns`` has changed."""
        slot = max(connection.deadline_ns >> _SLOT_BITS, self._next)
        filed = self._slot_of.get(connection)
        if filed is not None:
            if filed <= slot:
                return  # it is looked at then, and filed on
            self._take(connection, filed)
        self._slot_of[connection] = slot
        self._slots.setdefault(slot, {})[connection] = None

    def forget(self, connection: TimedT) -> None:
        """It is gone. Idempotent."""
        filed = self._slot_of.pop(connection, None)
        if filed is not None:
            self._take(connection, filed)

    def due(self, now_ns: int) -> list[TimedT]:
        """Those whose deadline has passed; each is given out again in a later call until its
        deadline is moved or it is forgotten."""
        end = now_ns >> _SLOT_BITS
        found: list[TimedT] = []
        later: list[TimedT] = []
        for slot in range(self._next, end):
            for connection in self._slots.pop(slot, ()):
                del self._slot_of[connection]
                later.append(connection)
                if connection.deadline_ns <= now_ns:
                    found.append(connection)
        self._next = max(self._next, end)
        for connection in later:
            self.watch(connection)
        return found

    def _take(self, connection: TimedT, slot: int) -> None:
        members = self._slots[slot]
        del members[connection]
        if not members:
            del self._slots[slot]
