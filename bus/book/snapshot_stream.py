"""Books of venues that send the snapshot and its changes on one stream, without numbers.

Some venues (Coinbase Exchange ``level2_batch``, Kraken ``book``) number nothing: the stream begins
with a snapshot, every update after it is the next one, because TCP keeps the order. What was lost
inside the venue shows as a crossed book, a wrong checksum or a missing heartbeat, and there is one
remedy: subscribe again and take the snapshot that comes.

States and what moves between them (``TRANSITIONS`` below is this table, and the code reads it)::

    IDLE --start--> WAITING --snapshot--> FOLLOWING <-- snapshot (replaces the book)
      ^                ^                      |
      |                '---- lost, start -----'
      '---- stop: from any state

Updates count only while FOLLOWING; before a snapshot they belong to a book that is gone.

**Position.** Consumers of the bus need one, so it is counted here: from 0 at the feed's start, one
more for every snapshot taken and every update applied, never less. It says nothing about the
venue.

Pure: values in, values out; no clock, no socket. One instance per symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeVar

from bus.book.order_book import Level, OrderBook

L_contra = TypeVar("L_contra", contravariant=True)


class StreamState(Enum):
    """Where one symbol's book stands."""

    IDLE = "idle"
    """No stream."""
    WAITING = "waiting"
    """Subscribed; the snapshot has not come."""
    FOLLOWING = "following"
    """The book follows the venue."""


class StreamInput(Enum):
    """What can happen."""

    START = "start"
    STOP = "stop"
    LOST = "lost"
    SNAPSHOT = "snapshot"
    UPDATE = "update"


class StreamAction(Enum):
    """What the caller has to do."""

    IGNORE = "ignore"
    """Nothing."""
    LOAD = "load"
    """Replace the book by the snapshot just given."""
    APPLY = "apply"
    """Apply the update just given."""
    RESUBSCRIBE = "resubscribe"
    """The book is void: unsubscribe and subscribe, once."""


_S, _I, _A = StreamState, StreamInput, StreamAction

TRANSITIONS: Final[dict[tuple[StreamState, StreamInput], tuple[StreamState, StreamAction]]] = {
    (_S.IDLE, _I.START): (_S.WAITING, _A.IGNORE),
    (_S.IDLE, _I.STOP): (_S.IDLE, _A.IGNORE),
    (_S.IDLE, _I.LOST): (_S.IDLE, _A.IGNORE),
    (_S.IDLE, _I.SNAPSHOT): (_S.IDLE, _A.IGNORE),
    (_S.IDLE, _I.UPDATE): (_S.IDLE, _A.IGNORE),
    (_S.WAITING, _I.START): (_S.WAITING, _A.IGNORE),
    (_S.WAITING, _I.STOP): (_S.IDLE, _A.IGNORE),
    (_S.WAITING, _I.LOST): (_S.WAITING, _A.IGNORE),
    (_S.WAITING, _I.SNAPSHOT): (_S.FOLLOWING, _A.LOAD),
    (_S.WAITING, _I.UPDATE): (_S.WAITING, _A.IGNORE),
    (_S.FOLLOWING, _I.START): (_S.WAITING, _A.IGNORE),
    (_S.FOLLOWING, _I.STOP): (_S.IDLE, _A.IGNORE),
    (_S.FOLLOWING, _I.LOST): (_S.WAITING, _A.RESUBSCRIBE),
    (_S.FOLLOWING, _I.SNAPSHOT): (_S.FOLLOWING, _A.LOAD),
    (_S.FOLLOWING, _I.UPDATE): (_S.FOLLOWING, _A.APPLY),
}


class SnapshotStream:
    """The state machine of one symbol; ``ignored`` counts updates that came out of place."""

    __slots__ = ("_state", "ignored", "position")

    def __init__(self) -> None:
        self._state = StreamState.IDLE
        self.position = 0
        self.ignored = 0

    @property
    def state(self) -> StreamState:
        """Where the book stands."""
        return self._state

    def start(self) -> StreamAction:
        """A subscription is being made: the book, if there was one, is void."""
        return self._step(StreamInput.START)

    def stop(self) -> StreamAction:
        """The stream has ended."""
        return self._step(StreamInput.STOP)

    def lost(self) -> StreamAction:
        """The book cannot be trusted: RESUBSCRIBE the first time, then IGNORE until a snapshot."""
        return self._step(StreamInput.LOST)

    def on_snapshot(self) -> StreamAction:
        """A snapshot: LOAD, or IGNORE without a subscription."""
        action = self._step(StreamInput.SNAPSHOT)
        if action is StreamAction.LOAD:
            self.position += 1
        return action

    def on_update(self) -> StreamAction:
        """An update: APPLY while the book follows the venue, else IGNORE."""
        if self._state is StreamState.FOLLOWING:  # by far the commonest case: no table walk
            self.position += 1
            return StreamAction.APPLY
        self.ignored += 1
        return self._step(StreamInput.UPDATE)

    def _step(self, what: StreamInput) -> StreamAction:
        self._state, action = TRANSITIONS[self._state, what]
        return action


@dataclass(frozen=True, slots=True)
class Change:
    """What a snapshot or an update did to a book.

    ``bids`` and ``asks``: what others have to apply to a copy of the book, in order, to follow;
    ``fault``: why the book cannot be trusted any more, one word, "" while it can.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]
    fault: str = ""


class FollowedBook(Protocol[L_contra]):
    """A book that a snapshot stream keeps; ``L_contra`` is a level as the venue gives it."""

    def load(
        self, bids: Sequence[L_contra], asks: Sequence[L_contra], checksum: int | None
    ) -> Change:
        """Replace every level."""

    def apply(
        self, bids: Sequence[L_contra], asks: Sequence[L_contra], checksum: int | None
    ) -> Change:
        """Change levels in the order given: size 0 removes, any other size replaces."""

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The ``count`` best bids and asks, best first."""

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Every level, best first."""

    @property
    def trimmed_levels(self) -> int:
        """Levels forgotten at a bound of ours (not the venue's)."""


class WholeBook:
    """A whole book without a checksum: it is trusted until it is crossed."""

    __slots__ = ("_book",)

    def __init__(self, max_levels: int) -> None:
        self._book = OrderBook(max_levels)

    def load(self, bids: Sequence[Level], asks: Sequence[Level], checksum: int | None) -> Change:
        """Replace every level; ``checksum`` is not looked at."""
        self._book.load(bids, asks)
        return Change(bids, asks, "crossed" if self._book.crossed else "")

    def apply(self, bids: Sequence[Level], asks: Sequence[Level], checksum: int | None) -> Change:
        """Change levels in the order given; ``checksum`` is not looked at."""
        self._book.apply(bids, asks)
        return Change(bids, asks, "crossed" if self._book.crossed else "")

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The ``count`` best bids and asks, best first."""
        return self._book.top(count)

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Every level, best first."""
        return self._book.levels()

    @property
    def trimmed_levels(self) -> int:
        """Levels forgotten at the bound."""
        return self._book.trimmed_levels
