"""How long messages take from the bus publisher to the socket: a p99 that costs next to nothing.

Pure. A histogram with 8 steps an octave (9 % wide), counted per message and read per interval; its
size does not depend on traffic.
"""

from __future__ import annotations

_STEPS = 8
_OCTAVES = 40
_SHOWN_OCTAVES = 24
"""Of the whole histogram the first octaves are shown: up to a minute, the rest with the last."""


class LagGauge:
    """Lags in ns in, the p99 of the last whole interval out."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._counts = [0] * (_STEPS * _OCTAVES)
        self._total = 0
        self._began_ns = 0
        self._p99_us = 0
        self._has_whole = False
        self._past = [0] * len(self._counts)
        self._sum_us = 0

    def add(self, lag_ns: int, count: int = 1) -> None:
        """Count the messages of a batch at the lag of its oldest; a negative one counts as none."""
        lag_us = max(lag_ns, 0) // 1000
        octave = max(lag_us.bit_length() - 4, 0)
        self._counts[min(octave * _STEPS + (lag_us >> octave), len(self._counts) - 1)] += count
        self._total += count
        self._sum_us += lag_us

    def p99_us(self, now_ns: int) -> int:
        """Of the last whole interval; of the current one until there is a whole one."""
        if not self._began_ns:
            self._began_ns = now_ns
        elapsed_ns = now_ns - self._began_ns
        if elapsed_ns >= self._interval_ns or elapsed_ns < 0:
            self._p99_us = self._read()
            self._has_whole = True
            self._past = [sum(pair) for pair in zip(self._past, self._counts, strict=True)]
            self._counts = [0] * len(self._counts)
            self._total = 0
            self._began_ns = now_ns
        return self._p99_us if self._has_whole else self._read()

    def cumulative(self) -> tuple[list[tuple[int, int]], int]:
        """Since the start: (bound in µs, messages up to it) by octave, rising; the sum in µs."""
        bounds: list[tuple[int, int]] = []
        total = 0
        for index, (past, now) in enumerate(zip(self._past, self._counts, strict=True)):
            total += past + now
            if index % _STEPS == _STEPS - 1 and index < _STEPS * _SHOWN_OCTAVES:
                bounds.append((_upper_us(index), total))
        return [*bounds[:-1], (bounds[-1][0], total)], self._sum_us

    def _read(self) -> int:
        left = self._total - self._total // 100
        for index, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return _upper_us(index)
        return 0


def _upper_us(index: int) -> int:
    """The largest lag that is counted at ``index``."""
    if index < 2 * _STEPS:
        return index
    octave = index // _STEPS - 1
    step = index - octave * _STEPS
    return ((step + 1) << octave) - 1
