"""Connections whose request is not complete, and who makes room when there are too many of them.

Pure: times in, connections out. Bounded by ``most`` and those that are younger than a second: a
real client's request comes with its first packet, so whoever has not sent it after a second is not
held up by our own queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

SLOW_NS = 1_000_000_000


class Shaking(Protocol):
    """A connection: hashable, with the monotonic time at which it was accepted."""

    since_ns: int


ShakingT = TypeVar("ShakingT", bound=Shaking)


class Handshakes(Generic[ShakingT]):
    """See the module; in the order in which they were accepted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._shaking: dict[ShakingT, None] = {}
        self.dropped = 0
        """Those that did not come to their end."""

    def __len__(self) -> int:
        return len(self._shaking)

    def __iter__(self) -> Iterator[ShakingT]:
        return iter(list(self._shaking))

    def began(self, connection: ShakingT, now_ns: int) -> list[ShakingT]:
        """It was accepted; those that have to make room for it, which count as dropped."""
        self._shaking[connection] = None
        surplus = len(self._shaking) - self._most
        if surplus <= 0:
            return []
        oldest = islice(self._shaking, surplus)
        slow = [one for one in oldest if now_ns - one.since_ns >= SLOW_NS]
        self.dropped += len(slow)
        return slow

    def ended(self, connection: ShakingT) -> None:
        """Its request is complete, or it is gone. Idempotent."""
        self._shaking.pop(connection, None)

    def overdue(self, connection: ShakingT) -> None:
        """Its time is over: if its request is not complete yet, it is dropped for that."""
        if connection in self._shaking:
            self.dropped += 1
