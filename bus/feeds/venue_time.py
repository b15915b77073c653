"""Venue times that come as text. Pure."""

from __future__ import annotations

import re
from calendar import timegm
from typing import Final

NS_PER_S: Final = 1_000_000_000
_PATTERN: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):?(\d\d))"
)
_LIMITS: Final = ((1, 12), (1, 31), (0, 23), (0, 59), (0, 60))


def rfc3339_ns(text: str) -> int:
    """``2022-08-04T15:25:05.010758Z`` to ns since 1970, every digit kept up to nine.

    Python's own datetime would cut it to microseconds. Raises ValueError for anything that is
    not an RFC 3339 time from 1970 on with a zone.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    year, *rest = (int(match[group]) for group in range(1, 7))
    if year < 1970 or not all(
        low <= value <= high for value, (low, high) in zip(rest, _LIMITS, strict=True)
    ):
        raise ValueError(f"no such time: {text[:40]!r}")
    seconds = timegm((year, *rest))
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds += -offset if match[8] == "+" else offset
    return seconds * NS_PER_S + int((match[7] or "0").ljust(9, "0"))
