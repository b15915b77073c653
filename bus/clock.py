"""The two clocks. Pure modules never read them: they take ``now_ns`` as an argument."""

from __future__ import annotations

from time import monotonic_ns, time_ns

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

now_ns = time_ns
"""Wall-clock nanoseconds since 1970: for timestamps that leave the process."""

__all__ = ["NS_PER_MS", "NS_PER_SECOND", "NS_PER_US", "monotonic_ns", "now_ns"]
