"""What an inbox has asked of the broker, and what waits for the answer. Plain state, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bus.client.deliveries import Command, Subscribe, Unsubscribe
from bus.client.positions import Held, TopicState
from bus.clock import NS_PER_SECOND
from bus.wire.requests import REPLAY_ROOT, SNAPSHOT_ROOT, ReplayRequest, SnapshotRequest

AUDIT_PAUSE_NS: Final = NS_PER_SECOND
AUDIT_PAUSE_MAX_NS: Final = 60 * NS_PER_SECOND


class Asked:
    """A snapshot or replay on its way, and the messages held back until it is here.

    A subscription's snapshot gates many topics (``gated``, ``topic`` is None). A repair gates one
    (``topic``): it is a replay or, for a delta topic, a snapshot of that topic alone.

    A snapshot is over when its end marker is here (``ended``: messages announced, messages missing)
    and the topics of it that were being repaired just then (``unrepaired``) are whole.
    """

    __slots__ = (
        "attempts",
        "broken",
        "deadline_ns",
        "delivered",
        "ended",
        "gated",
        "hold",
        "passed_over",
        "received",
        "request",
        "topic",
        "unrepaired",
    )

    def __init__(
        self, request: SnapshotRequest | ReplayRequest, topic: TopicState | None = None
    ) -> None:
        self.request = request
        self.topic = topic
        self.gated: list[TopicState] = [] if topic is None else [topic]
        self.hold: list[Held] = []
        self.attempts = 1
        self.passed_over = False  # messages of a snapshot were dropped for the sake of this repair
        self.restart(request, 0)

    def restart(self, request: SnapshotRequest | ReplayRequest, deadline_ns: int) -> None:
        """The same, asked again under another id; what is held back stays."""
        self.request = request
        self.deadline_ns = deadline_ns
        self.received = 0
        self.delivered = 0
        self.broken = False
        self.ended: tuple[int, int] | None = None
        self.unrepaired: list[TopicState] = []

    @property
    def prefix(self) -> bytes:
        """What a snapshot is asked of."""
        return self.request.key[len(self.request.root) :]

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


class Requests:
    """What is asked and not answered yet, and the commands that asking takes.

    ``now_ns`` is set by the owner before it asks for anything.
    """

    def __init__(self, timeout_ns: int, new_id: Callable[[], bytes]) -> None:
        self.now_ns = 0
        self.commands: list[Command] = []
        self._timeout_ns: Final = timeout_ns
        self._new_id: Final = new_id
        self._open: dict[bytes, Asked] = {}

    def __len__(self) -> int:
        return len(self._open)

    def snapshot(self, prefix: bytes) -> Asked:
        """Ask for everything under ``prefix``."""
        return self._send(Asked(SnapshotRequest(self._new_id(), prefix)))

    def replay(self, topic: TopicState, hold: list[Held]) -> Asked:
        """Hold ``topic`` back, beginning with ``hold``, and ask for what follows its position."""
        asked = Asked(self._replay_of(topic), topic)
        asked.hold = hold
        topic.gate = asked
        return self._send(asked)

    def again(self, asked: Asked) -> None:
        """The same under a new id; a replay from where its topic stands now."""
        self.close(asked)
        if isinstance(asked.request, ReplayRequest) and asked.topic is not None:
            asked.restart(self._replay_of(asked.topic), 0)
        else:
            asked.restart(SnapshotRequest(self._new_id(), asked.prefix), 0)
        self._send(asked)

    def snapshot_instead(self, asked: Asked, topic: TopicState) -> None:
        """Ask for a snapshot of ``topic`` where a replay of it was asked for."""
        self.close(asked)
        asked.restart(SnapshotRequest(self._new_id(), topic.key), 0)
        self._send(asked)

    def close(self, asked: Asked) -> None:
        """Want the answer no more, or no longer."""
        if self._open.pop(asked.request.root, None) is not None:
            self.commands.append(Unsubscribe(asked.request.key))

    def answered(self, root: bytes) -> Asked | None:
        """What a frame under ``root`` answers; it is then waited for as long again."""
        asked = self._open.get(root)
        if asked is not None:
            asked.deadline_ns = self.now_ns + self._timeout_ns
        return asked

    def overdue(self) -> list[Asked]:
        """What has not been answered in time."""
        return [asked for asked in self._open.values() if asked.deadline_ns <= self.now_ns]

    def end(self, asked: Asked, count: int, missing: int) -> None:
        """A snapshot's end marker is here; it now waits for what of it is being repaired."""
        self.close(asked)
        asked.ended = count, missing
        asked.unrepaired = [
            repair.topic
            for repair in self._open.values()
            if repair.topic is not None and repair.topic.key.startswith(asked.prefix)
        ]

    def held(self) -> int:
        """Messages held back in all."""
        return sum(len(asked.hold) for asked in self._open.values())

    def _replay_of(self, topic: TopicState) -> ReplayRequest:
        return ReplayRequest(self._new_id(), topic.epoch, topic.seq, topic.key)

    def _send(self, asked: Asked) -> Asked:
        asked.deadline_ns = self.now_ns + self._timeout_ns
        self._open[asked.request.root] = asked
        self.commands.append(Subscribe(asked.request.key))
        return asked


class AuditSchedule:
    """When to look whether quiet topics lost something too (rule 8 of the inbox)."""

    def __init__(self) -> None:
        self._losses_seen = 0
        self._due_ns: int | None = None
        self._last_ns: int | None = None
        self._pause_ns = AUDIT_PAUSE_NS

    def is_due(self, losses: int, now_ns: int) -> bool:
        """Whether to look now, given how many losses there have been; True once per occasion."""
        if losses != self._losses_seen and self._due_ns is None:
            recent = self._last_ns is not None and now_ns - self._last_ns < 2 * self._pause_ns
            longer_ns = min(2 * self._pause_ns, AUDIT_PAUSE_MAX_NS)
            self._pause_ns = longer_ns if recent else AUDIT_PAUSE_NS
            self._due_ns = now_ns + self._pause_ns
        self._losses_seen = losses
        if self._due_ns is None or now_ns < self._due_ns:
            return False
        self._due_ns, self._last_ns = None, now_ns
        return True


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
    for subscription in _above(subscriptions, key):
        if subscription.snapshot or not snapshot:
            if subscription.pending is None:
                return subscription
            found = found or subscription
    return found


def waited_for(subscriptions: Mapping[bytes, Subscription], topic: TopicState) -> list[Asked]:
    """The snapshots that waited for ``topic`` to be repaired; they do so no more."""
    found: list[Asked] = []
    for subscription in _above(subscriptions, topic.key):
        pending = subscription.pending
        if pending is not None and topic in pending.unrepaired:
            pending.unrepaired.remove(topic)
            found.append(pending)
    return found


def _above(subscriptions: Mapping[bytes, Subscription], key: bytes) -> Iterator[Subscription]:
    """Every subscription a topic falls under, the widest first."""
    cut = key.find(b"/")
    while cut >= 0:
        subscription = subscriptions.get(key[: cut + 1])
        if subscription is not None:
            yield subscription
        cut = key.find(b"/", cut + 1)


def answer_root(frame: bytes) -> bytes:
    """What stands before the cached frame in an answer of the broker; empty for other frames."""
    if frame.startswith(SNAPSHOT_ROOT):
        return frame[: frame.find(b"/", len(SNAPSHOT_ROOT)) + 1]
    if frame.startswith(REPLAY_ROOT):
        return frame[: frame.find(b"/", frame.find(b"/", len(REPLAY_ROOT)) + 1) + 1]
    return b""


def _position_of(held: Held) -> tuple[int, int]:
    return held[0], held[1]
