"""Faults that are armed and then happen to the traffic by themselves.

Pure. The control endpoint (:mod:`bus.simulator.control`) arms them; servers ask at each message.
Faults that are done at once (close, abort, garbage, …) need no memory and live there.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TypeVar

T = TypeVar("T")

DIFF_FAULTS = ("drop_diff", "repeat_diff", "swap_diff")
NEXT_FAULTS = ("drop_trade", "wrong_checksum")
ONLINE = "online"
SYSTEMS = (ONLINE, "cancel_only", "maintenance", "post_only")
ALL_STREAMS = "*"
MAX_ARMED = 10_000
"""Diff faults armed for one symbol at a time; arming more is refused."""


class Faults:
    """What is armed on one simulated venue. ``happened`` counts what came to pass, by kind."""

    def __init__(self) -> None:
        self.skew_ns = 0
        self.depth_delay_s = 0.0
        self.system = ONLINE
        self.happened: Counter[str] = Counter()
        self._diffs: dict[str, deque[str]] = {}
        self._held: dict[str, object] = {}
        self._silent_until_ns: dict[str, int] = {}
        self._refuse: tuple[int, int] | None = None
        self._next: Counter[tuple[str, str]] = Counter()

    def clear(self) -> None:
        """Disarm everything; what was held back by a swap is lost (it counts as dropped)."""
        self.happened["drop_diff"] += len(self._held)
        self.skew_ns = 0
        self.depth_delay_s = 0.0
        self.system = ONLINE
        self._next.clear()
        self._diffs.clear()
        self._held.clear()
        self._silent_until_ns.clear()
        self._refuse = None

    def arm_diff(self, kind: str, symbol: str, count: int) -> None:
        """Let the next ``count`` diffs of ``symbol`` be dropped, sent twice, or swapped.

        A swap holds one diff back and sends it after the following one. Faults of one symbol
        happen in the order they were armed. Raises :class:`ValueError` beyond
        :data:`MAX_ARMED`.
        """
        armed = self._diffs.setdefault(symbol, deque())
        if kind not in DIFF_FAULTS or not 1 <= count <= MAX_ARMED - len(armed):
            raise ValueError(f"count must be 1 to {MAX_ARMED - len(armed)}")
        armed.extend([kind] * count)

    def arm_next(self, kind: str, symbol: str, count: int) -> None:
        """Let the next ``count`` events of ``symbol`` suffer ``kind`` (:data:`NEXT_FAULTS`).

        Raises :class:`ValueError` beyond :data:`MAX_ARMED`.
        """
        armed = self._next[kind, symbol]
        if kind not in NEXT_FAULTS or not 1 <= count <= MAX_ARMED - armed:
            raise ValueError(f"count must be 1 to {MAX_ARMED - armed}")
        self._next[kind, symbol] += count

    def takes(self, kind: str, symbol: str) -> bool:
        """Whether this event of ``symbol`` is to suffer ``kind``; uses one up."""
        if not self._next[kind, symbol]:
            return False
        self._next[kind, symbol] -= 1
        self.happened[kind] += 1
        return True

    def pass_diff(self, stream: str, item: T) -> list[T]:
        """What to send in place of one diff event, in order: nothing, itself, or more."""
        if not self._diffs and not self._held:
            return [item]
        held = self._held.pop(stream, None)
        if held is not None:
            return [item, held]  # type: ignore[list-item]
        symbol = stream.partition("@")[0].upper()
        armed = self._diffs.get(symbol)
        if not armed:
            return [item]
        kind = armed.popleft()
        if not armed:
            del self._diffs[symbol]
        self.happened[kind] += 1
        if kind == "drop_diff":
            return []
        if kind == "repeat_diff":
            return [item, item]
        self._held[stream] = item
        return []

    def silence(self, stream: str, until_ns: int) -> None:
        """Send nothing on ``stream`` (:data:`ALL_STREAMS`: on any) until then; sockets stay open.

        What would have been said meanwhile is lost, as on a stalled venue.
        """
        self._silent_until_ns[stream] = until_ns

    def is_silent(self, stream: str, now_ns: int) -> bool:
        """Whether this stream is to say nothing now."""
        if not self._silent_until_ns:
            return False
        for name in (stream, ALL_STREAMS):
            until_ns = self._silent_until_ns.get(name)
            if until_ns is None:
                continue
            if now_ns < until_ns:
                self.happened["silent_message"] += 1
                return True
            del self._silent_until_ns[name]
        return False

    def refuse_rest(self, status: int, until_ns: int) -> None:
        """Answer every REST request with ``status`` until then."""
        self._refuse = (status, until_ns)

    def rest_refusal(self, now_ns: int) -> tuple[int, int] | None:
        """Status and seconds to wait (rounded up) while REST is refused, else ``None``."""
        if self._refuse is None:
            return None
        status, until_ns = self._refuse
        if now_ns >= until_ns:
            self._refuse = None
            return None
        self.happened[f"rest_{status}"] += 1
        return status, -((now_ns - until_ns) // 1_000_000_000)

    def armed(self, now_ns: int) -> dict[str, object]:
        """Everything armed now, for the control endpoint."""
        return {
            "diffs": {symbol: list(kinds)[:20] for symbol, kinds in self._diffs.items()},
            "next": {f"{kind} {symbol}": n for (kind, symbol), n in self._next.items() if n},
            "system": self.system,
            "held": sorted(self._held),
            "silent": {
                name: max(0.0, (until_ns - now_ns) / 1e9)
                for name, until_ns in self._silent_until_ns.items()
            },
            "refuse": self.rest_refusal_status(now_ns),
            "skew_ms": self.skew_ns // 1_000_000,
            "depth_delay_s": self.depth_delay_s,
            "happened": dict(self.happened),
        }

    def rest_refusal_status(self, now_ns: int) -> int | None:
        """The status REST is refused with now, without counting a request."""
        return self._refuse[0] if self._refuse and now_ns < self._refuse[1] else None
