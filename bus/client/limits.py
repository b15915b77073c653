"""The bounds of an inbox, and its figures."""

from __future__ import annotations

import msgspec

from bus.client.positions import Positions
from bus.clock import NS_PER_SECOND


class InboxLimits(msgspec.Struct, frozen=True):
    """Bounds of an inbox."""

    max_held: int = 100_000
    """Messages held back for one snapshot. Beyond it they are dropped and the snapshot is asked
    for again, so that what is delivered is late but whole."""
    max_held_repair: int = 10_000
    """Messages of one topic held back for one repair. Beyond it the hole is reported as a gap."""
    max_topics: int = 200_000
    """Topics with a position. Messages of further ones are dropped and counted."""
    timeout_ns: int = 2 * NS_PER_SECOND
    """How long the broker may be silent about a snapshot or a replay before it is asked again."""
    attempts: int = 3
    """How often one repair is asked for without getting on, and an incomplete snapshot at all. A
    snapshot that is not answered is asked for until it is."""


class InboxStats(msgspec.Struct, frozen=True):
    """What an inbox has seen; all but ``held`` and ``topics`` only grow."""

    messages: int
    """Messages delivered."""
    duplicates: int
    """Messages dropped because they were not newer than the topic's position."""
    skipped: int
    """Sequence numbers that state topics jumped over (newest wins: no gap)."""
    gaps: int
    """Gaps reported."""
    lost: int
    """Messages those gaps stand for."""
    repairs: int
    """Holes asked for by replay."""
    snapshots: int
    """Snapshots completed."""
    retries: int
    """Snapshots and replays asked for again."""
    audits: int
    """Times everything was asked for again because something had been lost."""
    epochs: int
    """Epoch changes reported."""
    malformed: int
    """Frames that break the wire format, dropped."""
    unwanted: int
    """Frames nobody asked for (any more): late answers, topics just unsubscribed."""
    refused: int
    """Messages of topics beyond ``max_topics``, dropped."""
    held: int
    """Messages held back right now."""
    held_peak: int
    """The most that one snapshot or repair has held back."""
    held_dropped: int
    """Held messages dropped at the bound."""
    topics: int
    """Topics with a position."""


class InboxCounters:
    """The figures an inbox counts itself; the rest are its positions'."""

    __slots__ = (
        "audits",
        "held_dropped",
        "held_peak",
        "malformed",
        "refused",
        "repairs",
        "retries",
        "snapshots",
        "unwanted",
    )

    def __init__(self) -> None:
        self.repairs = self.snapshots = self.retries = self.audits = 0
        self.malformed = self.unwanted = self.refused = 0
        self.held_peak = self.held_dropped = 0

    def stats(self, positions: Positions, held: int, topics: int) -> InboxStats:
        """All figures together, frozen."""
        return InboxStats(
            messages=positions.messages,
            duplicates=positions.duplicates,
            skipped=positions.skipped,
            gaps=positions.gaps,
            lost=positions.lost,
            repairs=self.repairs,
            snapshots=self.snapshots,
            retries=self.retries,
            audits=self.audits,
            epochs=positions.epochs,
            malformed=self.malformed,
            unwanted=self.unwanted,
            refused=self.refused,
            held=held,
            held_peak=self.held_peak,
            held_dropped=self.held_dropped,
            topics=topics,
        )
