"""Messages about the connection and its subscriptions: server to one client."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from bus.wsbridge.messages.data import DataMessage
from bus.wsbridge.messages.requests import Position
from bus.wsbridge.messages.tables import ERRORS, rfc3339

RequestId = str | int
TopicState = Literal["live", "stale", "pending", "down", "closed"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits in force on a connection; only those the server enforces."""

    subscriptions: int
    message_bytes: int
    buffered_bytes: int
    min_conflate_ms: int
    max_depth: int
    max_history: int
    wildcard_cost: int
    actions_per_s: float | UnsetType = UNSET
    burst: int | UnsetType = UNSET
    actions_per_minute: int | UnsetType = UNSET
    connections: int | UnsetType = UNSET
    connections_per_ip: int | UnsetType = UNSET
    new_connections_per_ip: int | UnsetType = UNSET
    new_connections_period_ms: int | UnsetType = UNSET
    server_connections: int | UnsetType = UNSET
    handshakes: int | UnsetType = UNSET
    handshake_timeout_ms: int | UnsetType = UNSET
    auth_timeout_ms: int | UnsetType = UNSET
    idle_ms: int | UnsetType = UNSET
    max_age_ms: int | UnsetType = UNSET


class Connection(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="connection"):
    """First word (``connected``) and, when the server leaves, last words of a connection."""

    id: RequestId | UnsetType = UNSET
    status: Literal["connected", "updated", "auth_required", "auth_expiring", "draining", "closing"]
    symbol: str | UnsetType = UNSET
    stream_type: str | UnsetType = UNSET
    category: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    protocol: int | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    codec: str | UnsetType = UNSET
    heartbeat_ms: int | UnsetType = UNSET
    batch_ms: int | UnsetType = UNSET
    events: str | UnsetType = UNSET
    connection_id: str | UnsetType = UNSET
    server: str | UnsetType = UNSET
    simulated: bool | UnsetType = UNSET
    user: str | UnsetType = UNSET
    tier: str | UnsetType = UNSET
    token_expires_in_ms: int | UnsetType = UNSET
    auth_timeout_ms: int | UnsetType = UNSET
    expires_in_ms: int | UnsetType = UNSET
    capabilities: list[str] | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    feeds: dict[str, str] | UnsetType = UNSET
    streams: list[str] | UnsetType = UNSET
    symbols: list[str] | UnsetType = UNSET
    categories: list[str] | UnsetType = UNSET
    code: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    reconnect: bool | UnsetType = UNSET
    reconnect_within_ms: int | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET
    timestamp: str


class TopicEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted for one topic of a request.

    Of a wildcard: ``matched`` counts its topics, ``positions`` says where each of them stands that
    has no entry of its own. It is what ``since`` takes.
    """

    topic: str
    requested: str
    state: TopicState
    age_ms: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    seq: int
    snapshot: bool
    conflate_ms: int = 0
    depth: int | UnsetType = UNSET
    numbers: str | UnsetType = UNSET
    on_slow: str | UnsetType = UNSET
    matched: int | UnsetType = UNSET
    positions: dict[str, Position] | UnsetType = UNSET
    history: int | UnsetType = UNSET
    already: bool | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why one topic of a request was refused."""

    topic: str | UnsetType = UNSET
    requested: str
    code: str
    message: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="subscription"):
    """The acknowledgement of ``subscribe`` and ``unsubscribe``."""

    action: Literal["subscribed", "unsubscribed"]
    id: RequestId | UnsetType = UNSET
    symbols: list[str]
    remaining: list[str] | UnsetType = UNSET
    stream_type: str | UnsetType = UNSET
    topics: list[TopicEntry]
    rejected: list[Rejection]
    count: int
    limit: int
    reason: str | UnsetType = UNSET
    timestamp: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription in a ``list`` reply."""

    topic: str
    symbol: str | UnsetType = UNSET
    category: str | UnsetType = UNSET
    stream_type: str
    conflate_ms: int = 0
    depth: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    seq: int
    state: TopicState
    age_ms: int | UnsetType = UNSET


class List(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="list"):
    """Reply to ``list``."""

    id: RequestId | UnsetType = UNSET
    subscribed: list[str]
    count: int
    limit: int
    subscriptions: list[Listed]
    timestamp: str


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """Reply to ``ping``; ``ts`` is echoed untouched."""

    id: RequestId | UnsetType = UNSET
    ts: msgspec.Raw | UnsetType = UNSET
    server_us: int
    timestamp: str


class SnapshotEnd(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="snapshot_end"):
    """The end of the first messages of a request: topics, messages sent, topics without a value."""

    id: RequestId | UnsetType = UNSET
    topics: int
    sent: int
    empty: list[str]
    timestamp: str


class FeedStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """State of one feed, in reply to ``status``."""

    id: RequestId | UnsetType = UNSET
    scope: Literal["feed"] = "feed"
    feed: str
    state: str
    since: str | UnsetType = UNSET
    age_ms: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    topics: int
    detail: str | UnsetType = UNSET
    timestamp: str


class TopicStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """A topic's value has grown stale, or is live again."""

    scope: Literal["topic"] = "topic"
    topic: str
    state: TopicState
    age_ms: int | UnsetType = UNSET
    ttl_ms: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    timestamp: str


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="status"):
    """State topics of a client that reads too slowly come as latest values only, or no longer."""

    scope: Literal["connection"] = "connection"
    state: Literal["conflating", "resumed"]
    reason: str
    buffered: int
    timestamp: str


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="gap"):
    """In the place of messages ``from`` to ``to`` of a lossless topic, which are lost.

    ``to`` below ``from``: the venue's own trades, ``count`` of them, never became messages.
    """

    topic: str
    epoch: str
    from_seq: int = msgspec.field(name="from")
    to_seq: int = msgspec.field(name="to")
    count: int
    reason: Literal["slow_client", "bus", "feed"]
    timestamp: str


class Reset(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reset"):
    """Forget what was known of the topic; what follows starts anew."""

    topic: str
    epoch: str
    reason: Literal["epoch", "feed_resync", "bus", "slow_client"]
    timestamp: str


class FeedPulse(msgspec.Struct, frozen=True, kw_only=True):
    """One feed in a heartbeat; ``age_ms`` since anything was heard of it, null if never."""

    state: str
    age_ms: int | None


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """Proof of life of this bridge and of the feeds; ``lag_us``: bus to socket, p99."""

    n: int
    interval_ms: int
    server_us: int
    lag_us: int
    feeds: dict[str, FeedPulse]
    timestamp: str


class Error(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A refusal that a program can act on: ``code``, ``retryable``, ``retry_after_ms``."""

    id: RequestId | UnsetType = UNSET
    code: str
    status: int
    message: str
    retryable: bool
    retry_after_ms: int | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    timestamp: str


Status = FeedStatus | TopicStatus | ConnectionStatus
Control = (
    Connection | Subscription | List | Pong | SnapshotEnd | Status | Gap | Reset | Heartbeat | Error
)

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encode(message: Control | DataMessage, codec: str = "json") -> bytes:
    """One message as UTF-8 JSON, or as MessagePack: the same map either way.

    Times are text already; NaN cannot occur (the bus refuses it).
    """
    return _json.encode(message) if codec == "json" else _msgpack.encode(message)


def error(
    code: str,
    message: str,
    *,
    now_ns: int,
    id: RequestId | UnsetType = UNSET,
    topic: str | UnsetType = UNSET,
    field: str | UnsetType = UNSET,
    retry_after_ms: int | UnsetType = UNSET,
) -> Error:
    """An ``error`` with the status and retryability of its ``code``."""
    kind = ERRORS[code]
    return Error(
        id=id,
        code=code,
        status=kind.status,
        message=message,
        retryable=kind.retryable,
        retry_after_ms=retry_after_ms,
        topic=topic,
        field=field,
        timestamp=rfc3339(now_ns),
    )
