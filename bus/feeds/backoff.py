"""How long to wait before the next attempt. Pure: the attempt's number and a jitter in, s out.

Full jitter over a doubling, capped window: many clients cut off at one moment do not come back at
one moment. There is no last attempt: a feed never gives up, its status says that it is down.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the wait: ``floor_s`` before the first retry's window, never above ``cap_s``."""

    floor_s: float = 0.25
    cap_s: float = 30.0

    def delay_s(self, attempt: int, jitter: float) -> float:
        """Seconds to wait before retry number ``attempt`` (0 is the first).

        ``jitter`` in [0, 1] picks a point between ``floor_s`` and the window's end
        ``min(cap_s, floor_s * 2 ** (attempt + 1))``. Never less than ``floor_s``: a peer that
        accepts and closes at once must not be hammered.
        """
        doublings = min(max(attempt, 0) + 1, 64)  # 2**64 exceeds any cap; larger would overflow
        window_s = min(self.cap_s, self.floor_s * 2.0**doublings)
        low_s = min(self.floor_s, window_s)
        return low_s + (window_s - low_s) * min(max(jitter, 0.0), 1.0)
