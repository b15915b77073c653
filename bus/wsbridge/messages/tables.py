"""What the messages have in common: error codes, close codes, times and epochs as text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from time import gmtime


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What a program needs to know of an error code: its HTTP-like status, and whether to retry."""

    code: str
    status: int
    retryable: bool = False


ERRORS: dict[str, ErrorKind] = {
    kind.code: kind
    for kind in (
        ErrorKind("bad_json", 400),
        ErrorKind("bad_request", 400),
        ErrorKind("unknown_action", 400),
        ErrorKind("unsupported", 501),
        ErrorKind("unauthorized", 401),
        ErrorKind("token_expired", 401),
        ErrorKind("forbidden", 403),
        ErrorKind("symbol_unknown", 404),
        ErrorKind("stream_unknown", 404),
        ErrorKind("category_unknown", 404),
        ErrorKind("fixed_subscription", 409),
        ErrorKind("not_subscribed", 409),
        ErrorKind("limit_subscriptions", 429),
        ErrorKind("limit_wildcards", 429),
        ErrorKind("limit_depth", 429),
        ErrorKind("rate_limited", 429, retryable=True),
        ErrorKind("slow_consumer", 429, retryable=True),
        ErrorKind("feed_down", 503, retryable=True),
        ErrorKind("internal", 500, retryable=True),
    )
}
"""The codes this server can send. Codes of capabilities it lacks are absent on purpose."""


class CloseCode(IntEnum):
    """The codes this server closes with. 4500–4999 and the first five: do not come back as is."""

    BYE = 1000
    WRONG_FRAME_KIND = 1003
    BAD_UTF8 = 1007
    INTERNAL = 1011
    DRAINING = 4001
    SLOW_CONSUMER = 4002
    HEARTBEAT_TIMEOUT = 4003
    TOKEN_EXPIRED = 4004
    MAX_AGE = 4006
    RATE_LIMITED = 4007
    TIMED_OUT = 4009
    BAD_REQUEST = 4500
    UNAUTHORIZED = 4501
    FORBIDDEN = 4502
    CONNECTION_LIMIT = 4504
    REPLACED = 4505
    UNKNOWN_STREAM = 4506
    UNSUPPORTED_CODEC = 4507
    KICKED = 4508


CLOSE_REASONS: dict[CloseCode, str] = {
    CloseCode.BYE: "bye",
    CloseCode.WRONG_FRAME_KIND: "wrong_frame_kind",
    CloseCode.BAD_UTF8: "bad_utf8",
    CloseCode.INTERNAL: "internal",
    CloseCode.DRAINING: "draining",
    CloseCode.SLOW_CONSUMER: "slow_consumer",
    CloseCode.HEARTBEAT_TIMEOUT: "heartbeat_timeout",
    CloseCode.TOKEN_EXPIRED: "token_expired",
    CloseCode.MAX_AGE: "max_age",
    CloseCode.RATE_LIMITED: "rate_limited",
    CloseCode.TIMED_OUT: "idle",
    CloseCode.BAD_REQUEST: "bad_request",
    CloseCode.UNAUTHORIZED: "unauthorized",
    CloseCode.FORBIDDEN: "forbidden",
    CloseCode.CONNECTION_LIMIT: "connection_limit",
    CloseCode.REPLACED: "replaced",
    CloseCode.UNKNOWN_STREAM: "unknown_stream",
    CloseCode.UNSUPPORTED_CODEC: "unsupported_codec",
    CloseCode.KICKED: "kicked",
}
"""The word a code comes with; 4009 also comes with ``auth_timeout``."""


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    at = gmtime(seconds)
    return (
        f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}"
        f"T{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}."
    )


def rfc3339(ts_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC with six decimals and ``Z``."""
    seconds, ns = divmod(ts_ns, 1_000_000_000)
    return f"{_second(seconds)}{ns // 1000:06d}Z"


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def epoch_text(epoch: int) -> str:
    """The epoch of the bus as the opaque text clients compare, at most 13 characters."""
    text = ""
    while True:
        epoch, digit = divmod(epoch, 36)
        text = _DIGITS[digit] + text
        if not epoch:
            return text
