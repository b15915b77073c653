"""What can be wrong with what a venue sends or answers. Facts as attributes."""

from __future__ import annotations

from bus.errors import MdbusError


class FeedError(MdbusError):
    """Root of the errors of the feed layer."""


class ParseError(FeedError):
    """A frame is not what the venue documents: the venue's fault; the frame is dropped.

    ``reason`` is one word for counters (``json``, ``shape``), ``detail`` the decoder's sentence,
    ``frame`` the beginning of what came.
    """

    def __init__(self, reason: str, detail: str, frame: bytes) -> None:
        self.reason = reason
        self.detail = detail
        self.frame = bytes(frame[:200])
        super().__init__(f"{reason}: {detail}: {self.frame!r}")


class RotationFailed(FeedError):
    """A connection opened to replace another is not fit to; the message says why."""


class KeyInUse(FeedError):
    """The venue allows one connection a key, and another process of this host has it."""

    def __init__(self, owner_pid: int) -> None:
        self.owner_pid = owner_pid
        who = f"process {owner_pid}" if owner_pid else "another process"
        super().__init__(
            f"{who} is connected with this API key already; the venue allows one connection a key: "
            "stop that process, or use another key"
        )


class CommandRefused(FeedError):
    """A command that cannot be done; the message tells the operator why, in one sentence."""


class RestError(FeedError):
    """A REST call brought no usable answer.

    ``kind`` is one word: ``unreachable``, ``dns_failure``, ``tls_failure``, ``timeout`` (no answer
    at all), ``restricted`` (451: not from this location), ``refused`` (4xx: asking again
    unchanged is no use), ``limited`` (429), ``banned`` (418), ``unauthorized`` (401, 403 with a
    key), ``venue`` (5xx: their side), ``malformed`` (an answer of the wrong shape). ``status`` is
    the HTTP status or 0, ``retry_after_s`` how long to stay away where the venue said so.
    """

    def __init__(
        self, kind: str, detail: str, *, status: int = 0, retry_after_s: float | None = None
    ) -> None:
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"{kind}: {detail}" if not status else f"{kind} ({status}): {detail}")
