"""What is due when: one heap for conflated topics, batches and heartbeats.

Pure: ``now_ns`` in. Each thing is in it once; asking again for something that is in it changes
nothing. A clock that is set back makes everything due at once, so that no value waits for an hour
that comes twice.
"""

from __future__ import annotations

import heapq
import sys
from typing import Generic, TypeVar

ThingT = TypeVar("ThingT")


class Schedule(Generic[ThingT]):
    """Hashable things with their times. Bounded by the number of things: each is in it once."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._things: dict[int, ThingT] = {}
        self._numbers: dict[ThingT, int] = {}
        self._count = 0
        self._seen_ns = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, thing: ThingT) -> bool:
        return thing in self._numbers

    def add(self, thing: ThingT, at_ns: int) -> None:
        """Make ``thing`` due at ``at_ns``, unless it is to be due already."""
        if thing in self._numbers:
            return
        self._count += 1
        self._numbers[thing] = self._count
        self._things[self._count] = thing
        heapq.heappush(self._heap, (at_ns, self._count))

    def discard(self, thing: ThingT) -> None:
        """It is not to be due any more."""
        number = self._numbers.pop(thing, None)
        if number is None:
            return
        del self._things[number]
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._things):
            self._heap = [entry for entry in self._heap if entry[1] in self._things]
            heapq.heapify(self._heap)

    @property
    def next_ns(self) -> int | None:
        """When the next thing is due; ``None`` when nothing is."""
        heap = self._heap
        while heap and heap[0][1] not in self._things:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now_ns: int, most: int = sys.maxsize) -> list[ThingT]:
        """Everything that is due, in order of time, or the first ``most`` of it; it is in the
        schedule no more."""
        if now_ns < self._seen_ns:
            self._heap = [(now_ns, number) for _, number in sorted(self._heap)]
        self._seen_ns = now_ns
        due: list[ThingT] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ns and len(due) < most:
            thing = self._things.pop(heapq.heappop(heap)[1], None)
            if thing is not None:
                del self._numbers[thing]
                due.append(thing)
        return due
