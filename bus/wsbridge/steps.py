"""What a session asks its shell to do, as values. The shell executes them in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from msgspec import UNSET, UnsetType

from bus.wsbridge.lines import Kept
from bus.wsbridge.messages import (
    CloseCode,
    Control,
    Position,
    Rejection,
    RequestId,
)
from bus.wsbridge.style import Style, Terms
from bus.wsbridge.topics import MarketTopic


@dataclass(frozen=True, slots=True)
class Wanted:
    """One topic of a request, and how it is wanted.

    ``snapshot``: send the last value; ``history``: past messages of a lossless topic;
    ``already``: the client had it before this request; ``pattern``: the wildcard it comes from.
    """

    topic: MarketTopic
    requested: str
    terms: Terms
    snapshot: bool
    history: int
    since: Position | None
    already: bool
    allow_pending: bool = True
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """A run of past messages that a client is given, to be encoded when their turn comes.

    ``names_epoch``: they say it themselves, for no acknowledgement has.
    """

    kepts: tuple[Kept, ...]
    topic: MarketTopic
    style: Style
    snapshot: bool = False
    recovered: bool = False
    names_epoch: bool = False
    stale_age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message to this client."""

    message: Control


@dataclass(frozen=True, slots=True)
class Give:
    """Send past messages to this client, in order."""

    given: Given


@dataclass(frozen=True, slots=True)
class Attach:
    """Make the bus topics of ``wanted`` warm, then call ``Session.attached`` with this."""

    purpose: Literal["open", "subscribe", "snapshot", "created"]
    wanted: tuple[Wanted, ...]
    rejected: tuple[Rejection, ...] = ()
    patterns: tuple[str, ...] = ()
    id: RequestId | UnsetType = UNSET
    stream_type: str | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """From here on this client gets the live messages of the topic.

    ``is_shown``: it was given the present value just before, so nothing up to that is due to it.
    """

    topic: MarketTopic
    terms: Terms
    is_shown: bool = False


@dataclass(frozen=True, slots=True)
class Owe:
    """The topic is still cold: call ``Session.arrived`` with this once it is warm."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Leave:
    """From here on this client gets nothing of the topic any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check the token; then call ``Session.admitted`` with what it grants, or refuse and close."""

    token: str = field(repr=False)
    id: RequestId | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, with the word of the code or with ``reason``. No step follows."""

    code: CloseCode
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rewire:
    """``set`` has changed the session's profile: topics and heartbeats follow it from here on."""


Step = Send | Give | Rewire | Attach | Join | Owe | Leave | Authenticate | Close
