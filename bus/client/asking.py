"""What an inbox has asked of the broker, and what waits for the answer. Plain state, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from bus.client.positions import Held, TopicState
from bus.wire.requests import REPLAY_ROOT, SNAPSHOT_ROOT, ReplayRequest, SnapshotRequest


class Asked:
    """A snapshot or replay on its way, and the messages held back until it is here.

    A subscription's snapshot gates many topics (``gated``, ``topic`` is None). A repair gates one
    (``topic``): it is a replay or, for a delta topic, a snapshot of that topic alone.
    """

    __slots__ = (
        "attempts",
        "broken",
        "deadline_ns",
        "delivered",
        "gated",
        "hold",
        "received",
        "request",
        "topic",
    )

    def __init__(
        self, request: SnapshotRequest | ReplayRequest, topic: TopicState | None = None
    ) -> None:
        self.request = request
        self.topic = topic
        self.gated: list[TopicState] = [] if topic is None else [topic]
        self.hold: list[Held] = []
        self.attempts = 1
        self.restart(request, 0)

    def restart(self, request: SnapshotRequest | ReplayRequest, deadline_ns: int) -> None:
        """The same, asked again under another id; what is held back stays."""
        self.request = request
        self.deadline_ns = deadline_ns
        self.received = 0
        self.delivered = 0
        self.broken = False

    def gate(self, topic: TopicState) -> None:
        """Hold ``topic`` back from now on."""
        topic.gate = self
        self.gated.append(topic)

    def first_held(self) -> tuple[int, int] | None:
        """The lowest position held back that its topic has not passed; for repairs."""
        return min(
            ((held[0], held[1]) for held in self.hold if held[4].is_newer(held[0], held[1])),
            default=None,
        )

    def take_hold(self) -> list[Held]:
        """Everything held back, in order: of arrival for a snapshot, of position for a repair."""
        held, self.hold = self.hold, []
        if self.topic is not None:
            held.sort(key=_position_of)
        return held


class Subscription:
    """One prefix the owner wants; ``pending`` is its snapshot while that is on its way."""

    __slots__ = ("pending", "prefix", "snapshot")

    def __init__(self, prefix: bytes, snapshot: bool) -> None:
        self.prefix = prefix
        self.snapshot = snapshot
        self.pending: Asked | None = None


def covering(
    subscriptions: Mapping[bytes, Subscription], key: bytes, *, snapshot: bool = False
) -> Subscription | None:
    """The subscription a topic falls under; one that is live goes before a pending one.

    With ``snapshot`` only subscriptions that asked for one count. At most four look-ups: prefixes
    cut at slashes.
    """
    found: Subscription | None = None
    cut = key.find(b"/")
    while cut >= 0:
        subscription = subscriptions.get(key[: cut + 1])
        if subscription is not None and (subscription.snapshot or not snapshot):
            if subscription.pending is None:
                return subscription
            found = found or subscription
        cut = key.find(b"/", cut + 1)
    return found


def answer_root(frame: bytes) -> bytes:
    """What stands before the cached frame in an answer of the broker; empty for other frames."""
    if frame.startswith(SNAPSHOT_ROOT):
        return frame[: frame.find(b"/", len(SNAPSHOT_ROOT)) + 1]
    if frame.startswith(REPLAY_ROOT):
        return frame[: frame.find(b"/", frame.find(b"/", len(REPLAY_ROOT)) + 1) + 1]
    return b""


def _position_of(held: Held) -> tuple[int, int]:
    return held[0], held[1]
