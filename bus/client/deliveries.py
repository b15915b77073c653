"""What an inbox hands out, and what it asks its owner to do: plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

MessageKind = Literal["snapshot", "live", "replay"]
GapReason = Literal["gone", "timeout", "overflow", "missing", "undecodable"]


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message, exactly once and in order within its topic.

    ``kind`` says where it came from: the broker's cache (``snapshot``), the live stream, or the
    repair of a hole (``replay``). ``frame`` is as published: topic, NUL byte, payload.
    """

    kind: MessageKind
    topic: bytes
    epoch: int
    seq: int
    frame: bytes


class GapFound(msgspec.Struct, frozen=True, gc=False):
    """``from_seq`` to ``to_seq`` (both included) of an event or delta topic are lost for good.

    ``reason``: the broker no longer holds them (``gone``) or never saw them (``missing``), did not
    answer in time (``timeout``), or more was held back meanwhile than allowed (``overflow``).
    Subscribers also use ``undecodable``: the message came, but its body breaks the wire format.
    """

    topic: bytes
    epoch: int
    from_seq: int
    to_seq: int
    reason: GapReason

    @property
    def kind(self) -> Literal["gap"]:
        return "gap"


class EpochChanged(msgspec.Struct, frozen=True, gc=False):
    """The topic's publisher restarted: what follows counts from 1 under the ``new`` epoch.

    Whether the ``old`` one ended with messages nobody received cannot be known.
    """

    topic: bytes
    old: int
    new: int

    @property
    def kind(self) -> Literal["epoch"]:
        return "epoch"


class SnapshotEnded(msgspec.Struct, frozen=True, gc=False):
    """Everything the broker held under ``prefix`` has been delivered; live messages follow.

    ``count`` messages were in the broker's answer; ``missing`` of them were lost on the way, after
    several tries (0 in health).
    """

    prefix: bytes
    count: int
    missing: int = 0

    @property
    def kind(self) -> Literal["snapshot_end"]:
        return "snapshot_end"


Delivery = Message | GapFound | EpochChanged | SnapshotEnded


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """The owner subscribes its SUB socket to ``key``."""

    key: bytes


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """The owner unsubscribes its SUB socket from ``key``."""

    key: bytes


Command = Subscribe | Unsubscribe
