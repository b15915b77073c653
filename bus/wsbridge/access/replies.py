"""What a client hears about who it is, what it may not have, and that it is too fast. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from bus.tokens import TokenRefused
from bus.wsbridge.access.grant import Access
from bus.wsbridge.access.warden import Overspent
from bus.wsbridge.messages import (
    CloseCode,
    Connection,
    Limits,
    Rejection,
    RequestId,
    error,
    rfc3339,
)
from bus.wsbridge.steps import Close, Send, Step
from bus.wsbridge.topics import MarketTopic, shown

NOT_ALLOWED = "the token does not allow this topic"
RETRY_MS = 5_000
_NS_PER_MS = 1_000_000


def auth_required(connection_id: str, server: str, limits: Limits, now_ns: int) -> Connection:
    """The first message to a client that has still to show a token."""
    return Connection(
        status="auth_required",
        protocol=1,
        connection_id=connection_id,
        server=server,
        auth_timeout_ms=limits.auth_timeout_ms,
        timestamp=rfc3339(now_ns),
    )


def auth_expiring(expires_ns: int, now_ns: int) -> Connection:
    """The reminder that the token is about to end."""
    return Connection(
        status="auth_expiring",
        expires_in_ms=max(0, expires_ns - now_ns) // _NS_PER_MS,
        timestamp=rfc3339(now_ns),
    )


def ageing(within_ms: int, now_ns: int) -> Connection:
    """The word that the connection has grown too old, and ends in ``within_ms``."""
    return Connection(
        status="draining",
        reconnect_within_ms=within_ms,
        retry_after_ms=0,
        timestamp=rfc3339(now_ns),
    )


def identified(
    message: Connection, access: Access | None, id: RequestId | UnsetType, now_ns: int
) -> Connection:
    """``message`` (``connected``) with who the client is, and the id of its ``auth`` if any."""
    if access is None or access.user is None:
        return message
    left_ms: int | UnsetType = UNSET
    if access.expires_ns is not None:
        left_ms = max(0, access.expires_ns - now_ns) // _NS_PER_MS
    return msgspec.structs.replace(
        message,
        id=id,
        user=access.user,
        tier=UNSET if access.tier is None else access.tier,
        token_expires_in_ms=left_ms,
    )


def refused(found: TokenRefused, id: RequestId | UnsetType, now_ns: int) -> list[Step]:
    """A token does not hold, or cannot be checked: why, and the end."""
    if found.why == "unavailable":
        failed = error("internal", str(found), now_ns=now_ns, id=id, retry_after_ms=RETRY_MS)
        return [Send(failed), Close(CloseCode.INTERNAL)]
    message = error(found.code, str(found), now_ns=now_ns, id=id)
    return [Send(message), Close(CloseCode.UNAUTHORIZED)]


def not_yet(id: RequestId | UnsetType, now_ns: int) -> list[Step]:
    """A request of a client that has not shown a token."""
    sentence = "show a token first: the action auth"
    return [Send(error("unauthorized", sentence, now_ns=now_ns, id=id))]


def rate_limited(id: RequestId | UnsetType, over: Overspent, now_ns: int) -> list[Step]:
    """A request too many; after the third one the end."""
    message = error(
        "rate_limited",
        "too many requests: see limits in the greeting",
        now_ns=now_ns,
        id=id,
        retry_after_ms=over.retry_after_ms,
    )
    steps: list[Step] = [Send(message)]
    if over.closes:
        steps.append(Close(CloseCode.RATE_LIMITED))
    return steps


def forbidden(topic: MarketTopic, requested: str) -> Rejection:
    """A topic of a request that the token does not allow."""
    return Rejection(
        topic=topic.name, requested=shown(requested), code="forbidden", message=NOT_ALLOWED
    )
