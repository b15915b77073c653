"""A few log lines about bad frames, however many come. Pure but for the logger it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

INTERVAL_NS: Final = 10_000_000_000


class LogLimit:
    """Lets one line per key through in ``interval_ns``, and tells with it how many it held back.

    Keys beyond ``max_keys`` share one, so that what a venue sends cannot grow the table.
    """

    __slots__ = ("_held", "_interval_ns", "_log", "_max_keys", "_next_ns")

    def __init__(
        self, log: Callable[..., None], max_keys: int = 64, *, interval_ns: int = INTERVAL_NS
    ) -> None:
        self._log = log
        self._interval_ns = interval_ns
        self._max_keys = max_keys
        self._next_ns: dict[str, int] = {}
        self._held: dict[str, int] = {}

    def __call__(self, now_ns: int, key: str, event: str, **fields: object) -> None:
        """Log ``event`` unless ``key`` was logged too lately (monotonic ``now_ns``)."""
        if key not in self._next_ns and len(self._next_ns) >= self._max_keys:
            key = "others"
        if now_ns < self._next_ns.get(key, 0):
            self._held[key] = self._held.get(key, 0) + 1
            return
        self._next_ns[key] = now_ns + self._interval_ns
        self._log(event, **fields, held_back=self._held.pop(key, 0))
