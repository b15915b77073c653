"""What a subscriber gives its program: typed events, with ticks decoded."""

from __future__ import annotations

from typing import Final

import msgspec

from bus.client.deliveries import (
    Delivery,
    EpochChanged,
    GapFound,
    GapReason,
    Message,
    MessageKind,
)
from bus.client.limits import InboxStats
from bus.errors import WireError
from bus.model.streams import STREAMS, StreamKind
from bus.model.tick import Tick
from bus.model.topic import Topic
from bus.wire.codec import decode_frame
from bus.wire.topic import parse_topic


class Update(msgspec.Struct, frozen=True):
    """One tick, exactly once and in order within its topic.

    ``kind`` is ``"snapshot"`` (from the broker's cache), ``"live"`` or ``"replay"`` (a repaired
    hole).
    """

    tick: Tick
    kind: MessageKind


class Gap(msgspec.Struct, frozen=True):
    """Ticks ``from_seq`` to ``to_seq`` (both included) of an event or delta topic are lost.

    A book kept from depth ticks is wrong from here on until the next tick with ``is_snapshot``.
    ``reason`` as in :class:`~bus.client.GapFound`.
    """

    topic: Topic
    epoch: int
    from_seq: int
    to_seq: int
    reason: GapReason


class EpochChange(msgspec.Struct, frozen=True):
    """The topic's publisher restarted; its ``seq`` counts from 1 again under the ``new`` epoch."""

    topic: Topic
    old: int
    new: int


class SnapshotEnd(msgspec.Struct, frozen=True):
    """The broker's cache under ``prefix`` was delivered: ``count`` messages; live ones follow.

    ``missing`` messages of it were lost on the way (0 in health).
    """

    prefix: str
    count: int
    missing: int


Event = Update | Gap | EpochChange | SnapshotEnd


class SubscriberStats(msgspec.Struct, frozen=True):
    """What a subscriber has seen since it was made."""

    connected: bool
    """Whether the broker is connected now."""
    reconnections: int
    """Times the connection was lost and came back."""
    undecodable: int
    """Ticks whose body breaks the wire format: dropped, and reported as a gap on event topics."""
    pending: int
    """Events ready but not taken yet."""
    inbox: InboxStats
    """The protocol's own figures: gaps, repairs, duplicates and so on."""


class Decoding:
    """Turns deliveries into events, and counts what cannot be."""

    __slots__ = ("undecodable",)

    def __init__(self) -> None:
        self.undecodable = 0

    def event(self, delivery: Delivery) -> Event | None:
        """The event, or None for a state tick that cannot be decoded (the next one replaces it)."""
        if delivery.__class__ is Message:
            return self._update(delivery)
        if isinstance(delivery, GapFound):
            return Gap(
                parse_topic(delivery.topic),
                delivery.epoch,
                delivery.from_seq,
                delivery.to_seq,
                delivery.reason,
            )
        if isinstance(delivery, EpochChanged):
            return EpochChange(parse_topic(delivery.topic), delivery.old, delivery.new)
        assert not isinstance(delivery, Message)
        return SnapshotEnd(delivery.prefix.decode("ascii"), delivery.count, delivery.missing)

    def _update(self, message: Message) -> Event | None:
        try:
            return Update(decode_frame(message.frame), message.kind)
        except WireError:
            self.undecodable += 1
        topic = parse_topic(message.topic)
        if STREAMS[topic.stream].kind is StreamKind.STATE:
            return None
        return Gap(topic, message.epoch, message.seq, message.seq, _UNDECODABLE)


_UNDECODABLE: Final[GapReason] = "undecodable"
