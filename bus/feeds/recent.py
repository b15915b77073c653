"""Telling repeats: the last so many ids seen. Pure, bounded: the oldest id is forgotten first."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class RecentIds(Generic[K]):
    """Remembers the last ``limit`` different ids. ``repeats`` counts those seen again."""

    __slots__ = ("_limit", "_order", "_seen", "repeats")

    def __init__(self, limit: int = 4_096) -> None:
        self._limit = limit
        self._order: deque[K] = deque()
        self._seen: set[K] = set()
        self.repeats = 0

    def is_new(self, key: K) -> bool:
        """True, once, for each id not among the last ``limit``; remembers it."""
        seen = self._seen
        if key in seen:
            self.repeats += 1
            return False
        seen.add(key)
        order = self._order
        order.append(key)
        if len(order) > self._limit:
            seen.discard(order.popleft())
        return True

    def __contains__(self, key: K) -> bool:
        """Whether the id is among those remembered; remembers nothing."""
        return key in self._seen

    def discard(self, key: K) -> None:
        """Forget one id."""
        if key in self._seen:
            self._seen.discard(key)
            self._order.remove(key)

    def clear(self) -> None:
        """Forget every id."""
        self._order.clear()
        self._seen.clear()
