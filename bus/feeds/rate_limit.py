"""Staying inside a venue's limits. Pure: ``now_s`` in (any monotonic seconds), waits out.

Messages over a rolling window, and how a venue's headers are read. REST calls by weight, shared by
all processes of a host, are in ``bus.feeds.budget``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

UNLIMITED: Final = 0
WINDOW_S: Final = 1.5
"""A venue's second, and how much of it messages may be held up on their way.

The venue counts what arrives. Were its second ours, too, the last messages of one window and the
first of the next would be in one second of the venue's as soon as the former are held up by a
millisecond: twice the limit in the worst case. With this window they have to bunch up by half a
second, more than a lost packet takes to be sent again.
"""


class RollingLimit:
    """At most ``limit`` messages in any ``window_s`` seconds, without bursts across its edge.

    Venue rule it serves (binance-spot-api-docs: web-socket-streams.md): 5 incoming messages a
    second per connection, where PING, PONG and control messages all count. Keep ``limit`` one or
    more below the venue's, for the pong that cannot wait. ``limit`` 0 means no limit.
    """

    __slots__ = ("_limit", "_sent", "_window_s")

    def __init__(self, limit: int, window_s: float = WINDOW_S) -> None:
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
