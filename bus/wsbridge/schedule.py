"""What is due when: one heap for conflated topics, batches and heartbeats.

Pure: ``now_ns`` in. Each thing is in it once; asking again for something that is in it changes
nothing. A clock that is set back makes everything due at once, so that no value waits for an hour
that comes twice.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

ThingT = TypeVar("ThingT")


class Schedule(Generic[ThingT]):
    """Hashable things with their times. Bounded by the number of things: each is in it once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, ThingT]] = []
        self._in: dict[ThingT, int] = {}
        self._count = 0
        self._seen_ns = 0

    def __len__(self) -> int:
        return len(self._in)

    def __contains__(self, thing: ThingT) -> bool:
        return thing in self._in

    def add(self, thing: ThingT, at_ns: int) -> None:
        """Make ``thing`` due at ``at_ns``, unless it is to be due already."""
        if thing in self._in:
            return
        self._count += 1
        self._in[thing] = self._count
        heapq.heappush(self._heap, (at_ns, self._count, thing))

    def discard(self, thing: ThingT) -> None:
        """It is not to be due any more."""
        self._in.pop(thing, None)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._in):
            self._heap = [entry for entry in self._heap if self._in.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    @property
    def next_ns(self) -> int | None:
        """When the next thing is due; ``None`` when nothing is."""
        heap = self._heap
        while heap and self._in.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now_ns: int) -> list[ThingT]:
        """Everything that is due, in order of time; it is in the schedule no more."""
        limit_ns = now_ns if now_ns >= self._seen_ns else None
        self._seen_ns = now_ns
        due: list[ThingT] = []
        heap = self._heap
        while heap and (limit_ns is None or heap[0][0] <= limit_ns):
            _, number, thing = heapq.heappop(heap)
            if self._in.get(thing) == number:
                del self._in[thing]
                due.append(thing)
        return due
