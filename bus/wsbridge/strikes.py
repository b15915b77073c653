"""So many offences within so much time are enough. Pure."""

from __future__ import annotations


class Strikes:
    """Remembers the last ``most`` offences; ``window_ns`` is how close together they must be.

    A list, for most connections never offend, and an empty deque takes 760 bytes.
    """

    __slots__ = ("_at_ns", "_most", "_window_ns")

    def __init__(self, most: int, window_ns: int) -> None:
        self._most = most
        self._window_ns = window_ns
        self._at_ns: list[int] = []

    def add(self, now_ns: int) -> bool:
        """One more; whether that was one too many."""
        times = self._at_ns
        times.append(now_ns)
        del times[: -self._most]
        return len(times) == self._most and now_ns - times[0] <= self._window_ns
