"""Messages from a client: one struct per action. Unknown fields are ignored.

The structs say types only; ranges are checked in :mod:`bus.wsbridge.actions`, which
also words the refusals.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

MAX_ID_CHARS = 64
MAX_ID_INT = 2**53


class Position(msgspec.Struct, frozen=True):
    """What a returning client saw last of one topic."""

    epoch: str
    seq: int


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """The topics of a request: ``topics``, or ``symbols`` (or one ``symbol``) of stream types."""

    id: str | int | UnsetType = UNSET
    symbols: list[str] | UnsetType = UNSET
    symbol: str | UnsetType = UNSET
    stream_type: str | list[str] | UnsetType = UNSET
    topics: list[str] | UnsetType = UNSET


class Subscribe(Named, frozen=True, kw_only=True):
    """``subscribe``: topics, and how they are wanted."""

    snapshot: bool | UnsetType = UNSET
    depth: int | UnsetType = UNSET
    history: int = 0
    since: dict[str, Position] = {}
    allow_pending: bool = True
    conflate_ms: int | float | UnsetType = UNSET
    book: str | UnsetType = UNSET
    on_slow: str | UnsetType = UNSET
    numbers: str | UnsetType = UNSET


class Unsubscribe(Named, frozen=True, kw_only=True):
    """``unsubscribe``: topics, or ``all``."""

    all: bool = False


class SnapshotRequest(Named, frozen=True, kw_only=True):
    """``snapshot``: the last values of topics, without a subscription."""

    depth: int | UnsetType = UNSET
    history: int | UnsetType = UNSET
    book: str | UnsetType = UNSET
    numbers: str | UnsetType = UNSET


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``list``: what is this connection subscribed to?"""

    id: str | int | UnsetType = UNSET


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """``ping``: ``ts`` is any JSON value and comes back untouched."""

    id: str | int | UnsetType = UNSET
    ts: msgspec.Raw | UnsetType = UNSET


class AuthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``auth``: a token, the first one or a newer one."""

    id: str | int | UnsetType = UNSET
    token: str

    def __repr__(self) -> str:
        return "AuthRequest(token=…)"  # a token is in no log and in no error


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``status``: the state of the named feeds, or of all."""

    id: str | int | UnsetType = UNSET
    feeds: list[str] | UnsetType = UNSET


class SetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``set``: options of the connection; those not named stay as they are."""

    id: str | int | UnsetType = UNSET
    batch_ms: int | UnsetType = UNSET
    heartbeat_ms: int | UnsetType = UNSET
    events: str | UnsetType = UNSET


Request = (
    Subscribe
    | Unsubscribe
    | SnapshotRequest
    | ListRequest
    | Ping
    | StatusRequest
    | AuthRequest
    | SetRequest
)

REQUEST_TYPES: dict[str, type[Request]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "snapshot": SnapshotRequest,
    "list": ListRequest,
    "ping": Ping,
    "status": StatusRequest,
    "auth": AuthRequest,
    "set": SetRequest,
}
"""The actions this server knows."""

UNSUPPORTED_ACTIONS = frozenset(("replay",))
"""Actions of the protocol whose capability is not enabled."""
