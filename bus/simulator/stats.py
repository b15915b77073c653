"""Rolling 24-hour statistics of one symbol, in minute buckets.

Pure. The window always holds the last 1,440 whole minutes and the running one, so its figures
agree with the trades that fell into them: open is the first trade of the oldest bucket, high and
low are over all of them, volume is the exact integer sum.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bus.simulator.instruments import E8

MINUTE_NS = 60_000_000_000
WINDOW_MINUTES = 1_440


@dataclass(slots=True)
class Bucket:
    """Trades of one minute. ``quote_e8`` is the traded value."""

    minute: int
    open_e8: int
    high_e8: int
    low_e8: int
    close_e8: int
    volume_e8: int
    quote_e8: int
    count: int
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True)
class Window:
    """24-hour figures; prices, ``volume`` and ``quote`` are ``_e8`` integers.

    ``previous_close_e8`` is the last trade before the window. ``open_ns`` is 24 h before ``now``.
    """

    open_ns: int
    close_ns: int
    previous_close_e8: int
    open_e8: int
    high_e8: int
    low_e8: int
    last_e8: int
    last_size_e8: int
    volume_e8: int
    quote_e8: int
    first_id: int
    last_id: int
    count: int

    @property
    def average_e8(self) -> int:
        """Volume-weighted average price."""
        return self.quote_e8 * E8 // self.volume_e8 if self.volume_e8 else self.last_e8


class RollingStats:
    """Feed it trades in time order with :meth:`add`; ask :meth:`window` at any later time."""

    def __init__(self, previous_close_e8: int) -> None:
        self._buckets: deque[Bucket] = deque()
        self._previous_close_e8 = previous_close_e8
        self._last_e8 = previous_close_e8
        self._last_size_e8 = 0
        self._last_id = 0
        # High and low of the closed buckets, recomputed only when a bucket opens or expires.
        self._closed_range: tuple[int, int] | None = None
        self._volume_e8 = self._quote_e8 = self._count = 0

    def add(self, time_ns: int, trade_id: int, price_e8: int, size_e8: int) -> None:
        """Count one trade."""
        minute = time_ns // MINUTE_NS
        value_e8 = price_e8 * size_e8 // E8
        bucket = self._buckets[-1] if self._buckets else None
        if bucket is None or bucket.minute != minute:
            self.add_bucket(
                Bucket(minute, price_e8, price_e8, price_e8, price_e8, size_e8, value_e8, 1,
                       trade_id, trade_id)
            )  # fmt: skip
        else:
            bucket.high_e8 = max(bucket.high_e8, price_e8)
            bucket.low_e8 = min(bucket.low_e8, price_e8)
            bucket.close_e8 = price_e8
            bucket.volume_e8 += size_e8
            bucket.quote_e8 += value_e8
            bucket.count += 1
            bucket.last_id = trade_id
            self._volume_e8 += size_e8
            self._quote_e8 += value_e8
            self._count += 1
        self._last_e8, self._last_size_e8, self._last_id = price_e8, size_e8, trade_id

    def add_bucket(self, bucket: Bucket) -> None:
        """Append a whole minute (the market's invented past); minutes must grow."""
        self._buckets.append(bucket)
        self._volume_e8 += bucket.volume_e8
        self._quote_e8 += bucket.quote_e8
        self._count += bucket.count
        self._last_e8, self._last_id = bucket.close_e8, bucket.last_id
        self._closed_range = None
        self._expire(bucket.minute)

    def window(self, now_ns: int) -> Window:
        """The figures as of ``now_ns``, which must not be before the last trade."""
        self._expire(now_ns // MINUTE_NS)
        buckets = self._buckets
        if not buckets:
            last = self._last_e8
            return Window(now_ns - WINDOW_MINUTES * MINUTE_NS, now_ns, last, last, last, last, last,
                          self._last_size_e8, 0, 0, -1, -1, 0)  # fmt: skip
        running = buckets[-1]
        if self._closed_range is None:
            closed = [bucket for bucket in buckets if bucket is not running] or [running]
            self._closed_range = (
                max(bucket.high_e8 for bucket in closed),
                min(bucket.low_e8 for bucket in closed),
            )
        high_e8, low_e8 = self._closed_range
        return Window(
            now_ns - WINDOW_MINUTES * MINUTE_NS,
            now_ns,
            self._previous_close_e8,
            buckets[0].open_e8,
            max(high_e8, running.high_e8),
            min(low_e8, running.low_e8),
            self._last_e8,
            self._last_size_e8,
            self._volume_e8,
            self._quote_e8,
            buckets[0].first_id,
            self._last_id,
            self._count,
        )

    def _expire(self, minute: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0].minute < minute - WINDOW_MINUTES:
            old = buckets.popleft()
            self._previous_close_e8 = old.close_e8
            self._volume_e8 -= old.volume_e8
            self._quote_e8 -= old.quote_e8
            self._count -= old.count
            self._closed_range = None
