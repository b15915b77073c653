"""What clients of one topic share: a channel, its units, and what conflation keeps between frames.

Pure. A *channel* is one topic as clients name it, in one style and on one wire: all its clients get
the same bytes. A *unit* is what goes out at once: a frame, or (for clients that batch) an encoded
message. Bounds: between two flushes a conflated state channel keeps a count, a depth channel one
merged change, and a lossless channel at most ``MAX_WAITING_BYTES``, then it is flushed early.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from bus.model import Depth
from bus.wsbridge.crowds import Crowd, Routed
from bus.wsbridge.style import Style, Wire
from bus.wsbridge.topics import MarketTopic

ClientT = TypeVar("ClientT", bound=Routed)

MAX_WAITING_BYTES: Final = 262_144
_NS_PER_MS: Final = 1_000_000


class Unit(NamedTuple):
    """Bytes for every client of a channel, and the messages (of one epoch) they stand for.

    ``first`` and ``last`` are 0 for what carries no message (``reset``, ``gap``, ``status``);
    ``is_frame``: a whole frame, not an encoded message; ``is_word``: a ``gap`` or a ``status``,
    told even to clients that are spared the messages around it.
    """

    data: bytes
    epoch: int = 0
    first: int = 0
    last: int = 0
    is_frame: bool = False
    is_word: bool = False


class Mark(NamedTuple):
    """Where a client stands that is spared the messages of a channel: ``updates`` seen, epoch."""

    updates: int
    epoch: int


RESYNC: Final = Mark(-1, 0)
"""Of a book whose changes were dropped: it begins anew."""


@dataclass(slots=True)
class Merge:
    """The changes of a book since the last flush, as one: sizes are absolute, the last counts."""

    first_id: int
    last_id: int
    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)

    def add(self, body: Depth) -> None:
        """Take one more change."""
        self.last_id = body.last_venue_seq
        self.bids.update(body.bids)
        self.asks.update(body.asks)

    def body(self) -> Depth:
        """The merged change, bids best first, asks best first."""
        return Depth(
            self.first_id,
            self.last_id,
            sorted(self.bids.items(), reverse=True),
            sorted(self.asks.items()),
            False,
        )


@lru_cache(maxsize=65_536)
def _form(name: str, depth: int, numbers: str, codec: str) -> object:
    """One object for equal arguments: its hash is its identity, which costs nothing."""
    return object()


@dataclass(slots=True, eq=False)
class Channel(Generic[ClientT]):
    """One topic in one style on one wire.

    ``units`` wait for the end of the bus batch; ``updates`` counts the messages since the channel
    was made. The rest is for conflated channels: ``sent_updates`` and ``epoch`` at the last flush,
    ``open_ns`` when the next one is allowed, and for clients that came since the last flush how
    many updates (of a lossless topic: waiting messages) they know already.
    """

    topic: MarketTopic
    style: Style
    wire: Wire
    clients: dict[ClientT, None] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)
    updates: int = 0
    epoch: int = 0
    sent_updates: int = 0
    open_ns: int = 0
    newcomers: dict[ClientT, int] = field(default_factory=dict)
    waiting: list[Unit] = field(default_factory=list)
    waiting_bytes: int = 0
    merge: Merge | None = None
    reset_reason: str = ""
    conflate_ns: int = 0
    crowd: Crowd[ClientT] | None = None
    """Its clients, while that is known to be so: equal ones of several channels become one."""
    form: object = None
    """What the encoding of a message depends on: channels of one form share it."""

    def __post_init__(self) -> None:
        topic, style, wire = self.topic, self.style, self.wire
        self.conflate_ns = style.conflate_ms * _NS_PER_MS
        self.form = _form(topic.name, style.depth, style.numbers, wire.codec)

    @property
    def has_pending(self) -> bool:
        """Whether anything waits for the next flush."""
        return self.updates != self.sent_updates or bool(self.waiting)

    def add(self, client: ClientT) -> None:
        """From here on ``client`` gets what comes; what waits already it knows."""
        self._drop_crowd()
        self.clients[client] = None
        if self.style.conflate_ms:
            known = len(self.waiting) if self.topic.is_lossless else self.updates
            self.newcomers[client] = known

    def remove(self, client: ClientT) -> None:
        """It gets nothing more."""
        self._drop_crowd()
        del self.clients[client]
        self.newcomers.pop(client, None)

    def _drop_crowd(self) -> None:
        if self.crowd is not None:
            self.crowd.count()
            self.crowd = None
