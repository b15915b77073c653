"""Times as text. Pure."""

from __future__ import annotations

import time

NS_PER_S = 1_000_000_000


def rfc3339(time_ns: int) -> str:
    """``2022-08-04T15:25:05.010758Z``: UTC, microseconds, as several venues write it."""
    seconds, rest_ns = divmod(time_ns, NS_PER_S)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest_ns // 1000:06d}Z"
