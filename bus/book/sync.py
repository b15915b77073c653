"""Joining a REST snapshot to a diff stream numbered ``U..u`` (Binance and its relatives).

The venue's steps (binance-spot-api-docs: web-socket-streams.md, "How to manage a local order book
correctly"; ids: ``U`` first and ``u`` last update id of a diff, ``L`` lastUpdateId of a snapshot):

1. Open the diff stream and buffer its events; note ``U`` of the first as ``U0``.
2. Fetch a depth snapshot.
3. If the snapshot is older than the buffer (``L + 1 < U0``), fetch it again; keep buffering.
4. Drop buffered events with ``u <= L``.
5. Book := snapshot, id := ``L``. The first event kept bridges it: ``U <= L + 1 <= u``. (The
   document says ``L`` lies inside ``[U, u]``. A snapshot taken on an event's edge gives
   ``U == L + 1``, is just as valid, and is by far the commoner case.)
6. Every event from then on: ``u <= id`` is old, ignore it; ``U > id + 1`` is a gap: events were
   missed, discard the book and go back to step 1; otherwise apply it and set id := ``u``.

States and what moves between them (``TRANSITIONS`` below is this table, and the code reads it)::

    UNSYNCED --start--> BUFFERING --snapshot joins--> SYNCED --refresh--> REFRESHING
        ^                   ^                         | ^                  | |
        |                   '---------- gap ----------' '- snapshot joins -' |
        |                   '---------------------- gap ---------------------'
        '---- stop: from any state

                    silent: SYNCED, REFRESHING --> STALE --next diff--> SYNCED
                                                    '------- gap -----> BUFFERING

A book can be in step and still wrong: a snapshot holds only so many levels a side, and when the
price leaves them, levels that no diff has mentioned are missing. REFRESHING joins a new snapshot
to the stream while the old book goes on being served: diffs are applied and held. STALE serves the
last book as it is, until the stream speaks again and shows whether anything was missed.

Pure: values in, values out; no clock, no socket. One instance per symbol, so that a gap in one
symbol never touches another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar


class Diff(Protocol):
    """What the state machine needs of a diff event: its range of update ids."""

    @property
    def first_id(self) -> int:
        """``U``."""

    @property
    def last_id(self) -> int:
        """``u``."""


D = TypeVar("D", bound=Diff)


class SyncState(Enum):
    """Where one symbol's book stands."""

    UNSYNCED = "unsynced"
    """No stream: diffs are ignored."""
    BUFFERING = "buffering"
    """Diffs are held until a snapshot joins them."""
    SYNCED = "synced"
    """The book follows the venue."""
    REFRESHING = "refreshing"
    """The book follows the venue; diffs are held as well, to join a newer snapshot."""
    STALE = "stale"
    """The stream fell silent: the book is the last one known, and may be old."""


class SyncInput(Enum):
    """What can happen, with ids already compared."""

    START = "start"
    STOP = "stop"
    REFRESH = "refresh"
    KEEP = "keep"
    SILENT = "silent"
    DIFF_NEXT = "diff_next"
    DIFF_OLD = "diff_old"
    DIFF_GAP = "diff_gap"
    SNAPSHOT_JOINS = "snapshot_joins"
    SNAPSHOT_TOO_OLD = "snapshot_too_old"


class SyncAction(Enum):
    """What the caller has to do."""

    IGNORE = "ignore"
    """Nothing."""
    HOLD = "hold"
    """Nothing: the diff is buffered. Have a snapshot under way."""
    FETCH = "fetch"
    """Fetch a (new) snapshot; the book, if there was one, is void."""
    LOAD = "load"
    """Replace the book by the snapshot, then apply the returned diffs in order."""
    APPLY = "apply"
    """Apply the diff just given."""


_S, _I, _A = SyncState, SyncInput, SyncAction

TRANSITIONS: Final[dict[tuple[SyncState, SyncInput], tuple[SyncState, SyncAction]]] = {
    (_S.UNSYNCED, _I.START): (_S.BUFFERING, _A.FETCH),
    (_S.UNSYNCED, _I.STOP): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.REFRESH): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.KEEP): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.SILENT): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.DIFF_NEXT): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.DIFF_OLD): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.DIFF_GAP): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.SNAPSHOT_JOINS): (_S.UNSYNCED, _A.IGNORE),
    (_S.UNSYNCED, _I.SNAPSHOT_TOO_OLD): (_S.UNSYNCED, _A.IGNORE),
    (_S.BUFFERING, _I.START): (_S.BUFFERING, _A.FETCH),
    (_S.BUFFERING, _I.STOP): (_S.UNSYNCED, _A.IGNORE),
    (_S.BUFFERING, _I.REFRESH): (_S.BUFFERING, _A.IGNORE),
    (_S.BUFFERING, _I.KEEP): (_S.BUFFERING, _A.IGNORE),
    (_S.BUFFERING, _I.SILENT): (_S.BUFFERING, _A.IGNORE),
    (_S.BUFFERING, _I.DIFF_NEXT): (_S.BUFFERING, _A.HOLD),
    (_S.BUFFERING, _I.DIFF_OLD): (_S.BUFFERING, _A.IGNORE),
    (_S.BUFFERING, _I.DIFF_GAP): (_S.BUFFERING, _A.HOLD),
    (_S.BUFFERING, _I.SNAPSHOT_JOINS): (_S.SYNCED, _A.LOAD),
    (_S.BUFFERING, _I.SNAPSHOT_TOO_OLD): (_S.BUFFERING, _A.FETCH),
    (_S.SYNCED, _I.START): (_S.BUFFERING, _A.FETCH),
    (_S.SYNCED, _I.STOP): (_S.UNSYNCED, _A.IGNORE),
    (_S.SYNCED, _I.REFRESH): (_S.REFRESHING, _A.FETCH),
    (_S.SYNCED, _I.KEEP): (_S.SYNCED, _A.IGNORE),
    (_S.SYNCED, _I.SILENT): (_S.STALE, _A.IGNORE),
    (_S.SYNCED, _I.DIFF_NEXT): (_S.SYNCED, _A.APPLY),
    (_S.SYNCED, _I.DIFF_OLD): (_S.SYNCED, _A.IGNORE),
    (_S.SYNCED, _I.DIFF_GAP): (_S.BUFFERING, _A.FETCH),
    (_S.SYNCED, _I.SNAPSHOT_JOINS): (_S.SYNCED, _A.IGNORE),
    (_S.SYNCED, _I.SNAPSHOT_TOO_OLD): (_S.SYNCED, _A.IGNORE),
    (_S.REFRESHING, _I.START): (_S.BUFFERING, _A.FETCH),
    (_S.REFRESHING, _I.STOP): (_S.UNSYNCED, _A.IGNORE),
    (_S.REFRESHING, _I.REFRESH): (_S.REFRESHING, _A.IGNORE),
    (_S.REFRESHING, _I.KEEP): (_S.SYNCED, _A.IGNORE),
    (_S.REFRESHING, _I.SILENT): (_S.STALE, _A.IGNORE),
    (_S.REFRESHING, _I.DIFF_NEXT): (_S.REFRESHING, _A.APPLY),
    (_S.REFRESHING, _I.DIFF_OLD): (_S.REFRESHING, _A.IGNORE),
    (_S.REFRESHING, _I.DIFF_GAP): (_S.BUFFERING, _A.FETCH),
    (_S.REFRESHING, _I.SNAPSHOT_JOINS): (_S.SYNCED, _A.LOAD),
    (_S.REFRESHING, _I.SNAPSHOT_TOO_OLD): (_S.REFRESHING, _A.FETCH),
    (_S.STALE, _I.START): (_S.BUFFERING, _A.FETCH),
    (_S.STALE, _I.STOP): (_S.UNSYNCED, _A.IGNORE),
    (_S.STALE, _I.REFRESH): (_S.STALE, _A.IGNORE),
    (_S.STALE, _I.KEEP): (_S.STALE, _A.IGNORE),
    (_S.STALE, _I.SILENT): (_S.STALE, _A.IGNORE),
    (_S.STALE, _I.DIFF_NEXT): (_S.SYNCED, _A.APPLY),
    (_S.STALE, _I.DIFF_OLD): (_S.SYNCED, _A.IGNORE),
    (_S.STALE, _I.DIFF_GAP): (_S.BUFFERING, _A.FETCH),
    (_S.STALE, _I.SNAPSHOT_JOINS): (_S.STALE, _A.IGNORE),
    (_S.STALE, _I.SNAPSHOT_TOO_OLD): (_S.STALE, _A.IGNORE),
}

DEFAULT_BUFFER_LIMIT: Final = 20_000


@dataclass(frozen=True, slots=True)
class SyncStats:
    """Counters of one symbol's synchronisation since its start.

    ``gaps``: times a live diff did not continue the book. ``buffer_gaps``: times a buffered diff
    did not continue the one before it. ``snapshots_too_old``: snapshots refused (step 3).
    ``buffered``: diffs held now; ``buffer_high_water``: most ever held. ``buffer_dropped``: oldest
    diffs given up because the buffer was full. ``ignored``: diffs that brought nothing new.
    """

    gaps: int
    buffer_gaps: int
    snapshots_too_old: int
    buffered: int
    buffer_high_water: int
    buffer_dropped: int
    ignored: int


class BookSync(Generic[D]):
    """The state machine of one symbol; ``D`` is the venue's diff type.

    The buffer holds at most ``buffer_limit`` diffs. When full, the oldest is given up: ``U0`` moves
    on, so a snapshot that would have needed it is refused as too old and fetched again. Dropping
    the oldest can delay synchronisation, never corrupt a book.
    """

    __slots__ = (
        "_buffer",
        "_buffer_dropped",
        "_buffer_gaps",
        "_buffer_limit",
        "_gaps",
        "_high_water",
        "_id",
        "_ignored",
        "_state",
        "_too_old",
    )

    def __init__(self, buffer_limit: int = DEFAULT_BUFFER_LIMIT) -> None:
        if buffer_limit < 1:
            raise ValueError(f"buffer_limit must be at least 1, not {buffer_limit}")
        self._buffer_limit = buffer_limit
        self._buffer: deque[D] = deque()
        self._state = SyncState.UNSYNCED
        self._id = 0
        self._gaps = self._buffer_gaps = self._too_old = 0
        self._high_water = self._buffer_dropped = self._ignored = 0

    @property
    def state(self) -> SyncState:
        """Where the book stands."""
        return self._state

    @property
    def last_id(self) -> int:
        """``u`` of the last diff applied (or ``L``); meaningful while in step, or STALE."""
        return self._id

    @property
    def buffered(self) -> int:
        """Number of diffs held."""
        return len(self._buffer)

    def start(self) -> SyncAction:
        """The stream has (re)started: void the book, buffer from the next diff on (step 1)."""
        self._buffer.clear()
        return self._step(SyncInput.START)

    def stop(self) -> SyncAction:
        """The stream has ended: the book is void, diffs are ignored until ``start``."""
        self._buffer.clear()
        return self._step(SyncInput.STOP)

    def refresh(self) -> SyncAction:
        """A newer snapshot is wanted: FETCH if the book is in step, else IGNORE."""
        return self._step(SyncInput.REFRESH)

    def keep(self) -> SyncAction:
        """No newer snapshot is wanted after all: the book goes on as it is."""
        if self._state is SyncState.REFRESHING:
            self._buffer.clear()
        return self._step(SyncInput.KEEP)

    def silent(self) -> SyncAction:
        """The stream brings nothing any more; a refresh under way is given up."""
        if self._state is SyncState.REFRESHING:
            self._buffer.clear()
        return self._step(SyncInput.SILENT)

    def on_diff(self, diff: D) -> SyncAction:
        """One diff in arrival order: IGNORE, HOLD, APPLY, or FETCH after a gap.

        After FETCH the machine is buffering again and already holds this diff.
        """
        first_id = diff.first_id
        last_id = diff.last_id
        if self._state is SyncState.SYNCED and first_id <= self._id + 1 and last_id > self._id:
            self._id = last_id  # step 6, by far the commonest case: no table walk
            return SyncAction.APPLY
        if self._state is SyncState.UNSYNCED:
            return self._step(SyncInput.DIFF_NEXT)
        if self._state is SyncState.BUFFERING:
            return self._buffer_diff(diff, first_id, last_id)
        if last_id <= self._id:
            self._ignored += 1
            return self._step(SyncInput.DIFF_OLD)
        if first_id <= self._id + 1:  # refreshing: apply, and hold for the snapshot to come
            self._id = last_id
            if self._state is SyncState.REFRESHING:
                self._hold(diff)
            return self._step(SyncInput.DIFF_NEXT)
        self._gaps += 1
        self._buffer.clear()
        action = self._step(SyncInput.DIFF_GAP)
        self._hold(diff)
        return action

    def on_snapshot(self, last_update_id: int) -> tuple[SyncAction, list[D]]:
        """A snapshot at ``L``: LOAD with the diffs to apply after it, FETCH if too old, or IGNORE.

        IGNORE: no snapshot is wanted (stopped, or already synced). With LOAD the returned diffs
        are in order and contiguous from ``L + 1``, and ``last_id`` is already that of the last.
        A refresh never takes the book back: ``last_id`` does not shrink.
        """
        if self._state in (SyncState.UNSYNCED, SyncState.SYNCED, SyncState.STALE):
            return self._step(SyncInput.SNAPSHOT_JOINS), []
        if self._buffer:
            too_old = self._buffer[0].first_id > last_update_id + 1  # step 3
        else:
            too_old = self._state is SyncState.REFRESHING and last_update_id < self._id
        if too_old:
            self._too_old += 1
            return self._step(SyncInput.SNAPSHOT_TOO_OLD), []
        kept = [diff for diff in self._buffer if diff.last_id > last_update_id]  # step 4
        self._buffer.clear()
        self._id = kept[-1].last_id if kept else last_update_id
        return self._step(SyncInput.SNAPSHOT_JOINS), kept  # step 5

    def stats(self) -> SyncStats:
        """The counters, as one frozen value."""
        return SyncStats(
            gaps=self._gaps,
            buffer_gaps=self._buffer_gaps,
            snapshots_too_old=self._too_old,
            buffered=len(self._buffer),
            buffer_high_water=self._high_water,
            buffer_dropped=self._buffer_dropped,
            ignored=self._ignored,
        )

    def _step(self, what: SyncInput) -> SyncAction:
        self._state, action = TRANSITIONS[self._state, what]
        return action

    def _buffer_diff(self, diff: D, first_id: int, last_id: int) -> SyncAction:
        newest = self._buffer[-1].last_id if self._buffer else first_id - 1
        if last_id <= newest:
            self._ignored += 1
            return self._step(SyncInput.DIFF_OLD)
        if first_id > newest + 1:
            # No snapshot can bridge a hole inside the buffer; one new enough to lie behind the
            # hole drops the older part anyway. So the older part is of no use to anyone.
            self._buffer_gaps += 1
            self._buffer.clear()
            self._hold(diff)
            return self._step(SyncInput.DIFF_GAP)
        self._hold(diff)
        return self._step(SyncInput.DIFF_NEXT)

    def _hold(self, diff: D) -> None:
        if len(self._buffer) >= self._buffer_limit:
            self._buffer.popleft()
            self._buffer_dropped += 1
        self._buffer.append(diff)
        self._high_water = max(self._high_water, len(self._buffer))
