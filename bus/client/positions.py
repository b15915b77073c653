"""Where each topic stands: what is next, what is a duplicate, what is a hole. No I/O, no time.

Rules 1 to 4 of :mod:`bus.client.inbox` are decided here and nowhere else; who holds messages back
and who asks the broker is the inbox's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bus.client.deliveries import Delivery, EpochChanged, GapFound, GapReason, Message, MessageKind
from bus.model.streams import StreamKind

if TYPE_CHECKING:
    from bus.client.asking import Asked

NO_EPOCH: Final = -1


class TopicState:
    """One topic's position, and which request holds its live messages back, if any."""

    __slots__ = ("epoch", "gate", "is_delta", "key", "lossless", "seq")

    def __init__(self, key: bytes, kind: StreamKind) -> None:
        self.key = key
        self.lossless = kind is not StreamKind.STATE
        self.is_delta = kind is StreamKind.DELTA
        self.epoch = NO_EPOCH
        self.seq = 0
        self.gate: Asked | None = None

    @property
    def has_position(self) -> bool:
        """Whether any message of the topic was delivered."""
        return self.epoch != NO_EPOCH

    def is_newer(self, epoch: int, seq: int) -> bool:
        """Whether (epoch, seq) is still to come."""
        return (epoch, seq) > (self.epoch, self.seq)


Held = tuple[int, int, MessageKind, bytes, TopicState]
"""A message with its position decoded: (epoch, seq, kind, frame, topic)."""


class Positions:
    """Accepts messages in whatever order they come and appends deliveries to ``out``."""

    __slots__ = ("duplicates", "epochs", "gaps", "losses", "lost", "messages", "out", "skipped")

    def __init__(self) -> None:
        self.out: list[Delivery] = []
        self.messages = 0
        self.duplicates = 0
        self.skipped = 0
        self.gaps = 0
        self.lost = 0
        self.epochs = 0
        self.losses = 0  # live messages that showed that earlier ones were lost

    def accept(self, held: Held) -> bool:
        """Deliver a message, or drop it as a duplicate. False: it lies behind a hole (rule 3, 4).

        After False the message is not delivered and the position stands before the hole.
        """
        epoch, seq, kind, frame, topic = held
        if epoch == topic.epoch:
            step = seq - topic.seq
            if step <= 0:
                self.duplicates += 1
                return True
            if step > 1:
                self.losses += kind == "live"
                if topic.lossless:
                    return False
                self.skipped += step - 1
        elif epoch < topic.epoch:
            self.duplicates += 1
            return True
        elif topic.epoch != NO_EPOCH:
            self.change_epoch(topic, epoch)
            if topic.lossless and seq > 1:
                return False
        self._deliver(topic, epoch, seq, kind, frame)
        return True

    def accept_replayed(self, held: Held) -> bool:
        """As :meth:`accept` for a message of a replay: False when an earlier one is missing."""
        epoch, seq, kind, frame, topic = held
        if not topic.is_newer(epoch, seq):
            self.duplicates += 1
            return True
        if epoch > topic.epoch:
            if seq != 1:
                return False
            self.change_epoch(topic, epoch)
        elif seq != topic.seq + 1:
            return False
        self._deliver(topic, epoch, seq, kind, frame)
        return True

    def skip_to(self, topic: TopicState, epoch: int, seq: int, reason: GapReason) -> None:
        """Make (epoch, seq) the next message expected, and report what that leaves out."""
        if epoch < topic.epoch:
            return
        if epoch > topic.epoch:
            self.change_epoch(topic, epoch)
        if seq > topic.seq + 1:
            self.gaps += 1
            self.lost += seq - 1 - topic.seq
            self.out.append(GapFound(topic.key, epoch, topic.seq + 1, seq - 1, reason))
            topic.seq = seq - 1

    def change_epoch(self, topic: TopicState, epoch: int) -> None:
        """Report a new epoch; the position then stands before its first message."""
        if topic.epoch != NO_EPOCH:
            self.epochs += 1
            self.out.append(EpochChanged(topic.key, topic.epoch, epoch))
        topic.epoch = epoch
        topic.seq = 0

    def _deliver(
        self, topic: TopicState, epoch: int, seq: int, kind: MessageKind, frame: bytes
    ) -> None:
        topic.epoch = epoch
        topic.seq = seq
        self.messages += 1
        self.out.append(Message(kind, topic.key, epoch, seq, frame))
