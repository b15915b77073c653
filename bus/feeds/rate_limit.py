"""Staying inside a venue's limits. Pure: ``now_s`` in (any monotonic seconds), waits out.

Two limiters: messages on one WebSocket connection over a rolling second, and REST calls by weight
per minute, steered by what the venue's own headers say.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

UNLIMITED: Final = 0


class RollingLimit:
    """At most ``limit`` messages in any ``window_s`` seconds, without bursts across its edge.

    Venue rule it serves (binance-spot-api-docs: web-socket-streams.md): 5 incoming messages a
    second per connection, where PING, PONG and control messages all count. Keep ``limit`` one or
    more below the venue's: what we send may bunch up on the way. ``limit`` 0 means no limit.
    """

    __slots__ = ("_limit", "_sent", "_window_s")

    def __init__(self, limit: int, window_s: float = 1.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._sent: deque[float] = deque(maxlen=max(limit, 1))

    def note(self, now_s: float) -> None:
        """A message was sent (also one that could not wait, such as a pong)."""
        self._sent.append(now_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until one more message may be sent; 0 = now."""
        if self._limit == UNLIMITED or len(self._sent) < self._limit:
            return 0.0
        return max(0.0, self._sent[0] + self._window_s - now_s)


@dataclass(frozen=True, slots=True)
class WeightStats:
    """The REST budget: ``used`` of ``limit`` this minute, calls refused by the venue so far.

    ``blocked_s`` is how long nothing may be sent; ``banned`` tells a ban (418) from a limit (429).
    """

    used: int
    limit: int
    refused: int
    blocked_s: float
    banned: bool


class WeightLimit:
    """REST weight per minute, with the venue's headers as the truth.

    ``limit`` is the budget we allow ourselves (below the venue's own). Between answers we add up
    what we asked for; every answer that carries a used weight replaces our sum, because the
    venue counts per IP address and we may not be alone there. 429 blocks every call for
    ``Retry-After``; 418 (a ban) likewise, and is reported as such. Ordering: callers are expected
    to ask in turn (the shell holds a lock), so the budget is not overshot by a stampede.
    """

    __slots__ = ("_banned", "_blocked_until_s", "_limit", "_refused", "_used", "_window_end_s")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._window_end_s = 0.0
        self._blocked_until_s = 0.0
        self._banned = False
        self._refused = 0

    def allow(self, limit: int) -> None:
        """Change the budget; 0 = none."""
        self._limit = limit

    def wait_s(self, weight: int, now_s: float) -> float:
        """Seconds until a call of this weight may go; 0 = now. Does not count it (``spend``)."""
        blocked_s = self._blocked_until_s - now_s
        if blocked_s > 0:
            return blocked_s
        self._roll(now_s)
        if self._limit == UNLIMITED or self._used + weight <= self._limit or self._used == 0:
            return 0.0
        return max(0.0, self._window_end_s - now_s)

    def spend(self, weight: int, now_s: float) -> None:
        """A call of this weight is being sent."""
        self._roll(now_s)
        self._used += weight

    def answered(self, used_weight: int | None, now_s: float) -> None:
        """The venue answered and (maybe) told the weight used in this minute."""
        self._roll(now_s)
        if used_weight is not None:
            self._used = used_weight

    def refused(self, status: int, retry_after_s: float | None, now_s: float) -> float:
        """The venue answered 429 or 418; returns the seconds for which nothing may be sent."""
        self._refused += 1
        self._banned = status == BANNED
        default_s = 120.0 if self._banned else 60.0  # first ban lasts 2 min; a limit, a minute
        wait_s = default_s if retry_after_s is None else max(retry_after_s, 0.0)
        self._blocked_until_s = max(self._blocked_until_s, now_s + wait_s)
        return self._blocked_until_s - now_s

    def stats(self, now_s: float) -> WeightStats:
        """The budget as one frozen value."""
        self._roll(now_s)
        blocked_s = max(0.0, self._blocked_until_s - now_s)
        return WeightStats(
            self._used, self._limit, self._refused, blocked_s, self._banned and blocked_s > 0
        )

    def _roll(self, now_s: float) -> None:
        if now_s >= self._window_end_s:
            self._used = 0
            self._window_end_s = now_s + 60.0


TOO_MANY_REQUESTS: Final = 429
BANNED: Final = 418


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header; None when absent or not a plain number of seconds.

    The date form is not used by the venues served; treating it as absent falls back to a default
    that is longer, which errs on the safe side. Capped at 3 days, the longest ban documented.
    """
    if value is None:
        return None
    text = value.strip()
    if not text.isascii() or not text.isdigit():
        return None
    return min(float(text), 3 * 86_400.0) if len(text) < 10 else 3 * 86_400.0


def used_weight(value: str | None) -> int | None:
    """The number in ``x-mbx-used-weight-1m`` (or a like header); None when absent or malformed."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value)
