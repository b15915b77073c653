"""One bus topic as this bridge holds it: its position, its last value, its latest messages.

Pure. A *line* is *cold* until the bus has delivered its snapshot, then *warm*; only warm lines have
clients, which is what makes the step from snapshot to live exact: the last value a line holds is
the last one its clients were sent.

Bounds: one message per state line; at most ``history`` messages per lossless line (oldest go first,
by design; a client that asks for older ones is told ``evicted``); one book per depth line.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Literal

from bus.book import Level, OrderBook
from bus.errors import WireError
from bus.model import Depth, Tick
from bus.wire.codec import decode_frame
from bus.wsbridge.payloads import decimal_text
from bus.wsbridge.topics import MarketTopic

CHECKED_LEVELS = 10

ResyncReason = Literal["feed_resync", "bus", "epoch"]


class Kept:
    """One message of the bus, decoded when it is first looked at.

    ``shown_as`` and ``shown`` remember its last encoding, so that a thousand clients that ask for
    the same history cost one encoding of it.
    """

    __slots__ = ("_is_bad", "_tick", "epoch", "frame", "seq", "shown", "shown_as")

    def __init__(self, epoch: int, seq: int, frame: bytes, tick: Tick | None = None) -> None:
        self.epoch = epoch
        self.seq = seq
        self.frame = frame
        self._tick = tick
        self._is_bad = False
        self.shown_as: object = None
        self.shown = b""

    @property
    def tick(self) -> Tick | None:
        """The message; ``None`` when it is malformed."""
        if self._tick is None and not self._is_bad:
            try:
                self._tick = decode_frame(self.frame)
            except WireError:
                self._is_bad = True
        return self._tick

    def decode(self) -> Tick:
        """The message. Raises :class:`~bus.errors.WireError` when it is malformed."""
        if self._tick is None:
            try:
                self._tick = decode_frame(self.frame)
            except WireError:
                self._is_bad = True
                raise
        return self._tick


class BookStep(Enum):
    """What a message of a depth stream means for who holds the book already."""

    DELTA = "delta"
    """Changed levels, to be applied."""
    NOTHING = "nothing"
    """The whole book again, as it was: nothing to do."""
    RESYNC = "resync"
    """The book starts anew from here."""
    SKIPPED = "skipped"
    """A change that does not continue the book: the source left something out. The book is lost."""
    LOST = "lost"
    """A change to a book that is not known: of no use until the next whole one."""


class Line:
    """One bus topic. ``epoch`` and ``seq`` are 0 before the first message."""

    __slots__ = (
        "_book",
        "_book_id",
        "_book_kept",
        "_broken_by",
        "epoch",
        "feed",
        "heard_ns",
        "is_broken",
        "is_delta",
        "is_state",
        "key",
        "last",
        "resync_reason",
        "ring",
        "seq",
        "warm",
    )

    def __init__(self, topic: MarketTopic, history: int) -> None:
        self.key = topic.bus_key
        self.feed = topic.feed
        self.is_state = topic.is_state
        self.is_delta = topic.is_delta
        self.ring: deque[Kept] = deque(maxlen=0 if topic.is_state else history)
        self.warm = False
        self.epoch = 0
        self.seq = 0
        self.heard_ns = 0
        self.last: Kept | None = None
        self.is_broken = False  # a depth line that has lost its place until the next whole book
        self._broken_by: ResyncReason = "feed_resync"
        self.resync_reason: ResyncReason = "feed_resync"
        self._book: OrderBook | None = OrderBook() if topic.is_delta else None
        self._book_id = 0
        self._book_kept: Kept | None = None

    def accept(self, epoch: int, seq: int, frame: bytes) -> bool:
        """Take a message if it is newer than the last one; ``False`` means it is a duplicate."""
        if epoch < self.epoch or (epoch == self.epoch and seq <= self.seq):
            return False
        if epoch != self.epoch and self.epoch:
            self._break("epoch")  # changes of a new count do not apply to the old book
        self.epoch = epoch
        self.seq = seq
        kept = Kept(epoch, seq, frame)
        self.last = kept
        if not self.is_state:
            self.ring.append(kept)
        return True

    def note_gap(self, epoch: int, to_seq: int) -> None:
        """Messages up to ``to_seq`` were lost for good: nobody waits for them, and a book is not
        known any more."""
        if epoch == self.epoch:
            self.seq = max(self.seq, to_seq)
        self._break("bus")

    def _break(self, reason: ResyncReason) -> None:
        if self.is_delta and not self.is_broken:
            self.is_broken = True
            self._broken_by = reason

    def discard_last(self) -> None:
        """The last message turned out malformed: keep its position, forget its content."""
        if self.ring and self.ring[-1] is self.last:
            self.ring.pop()
        self.last = None

    @property
    def tick(self) -> Tick | None:
        """The last message, decoded; ``None`` before the first, and after a malformed one."""
        if self.last is None:
            return None
        tick = self.last.tick
        if tick is None:
            self.discard_last()
        return tick

    # ------------------------------------------------------------------ the book of a depth line

    def take_depth(self, tick: Tick) -> BookStep:
        """Bring the book up to ``tick``, the message accepted last."""
        body = tick.body
        book = self._book
        assert isinstance(body, Depth) and book is not None, "depth lines carry Depth bodies"  # noqa: PT018
        self._book_kept = None
        if not body.is_snapshot:
            if self.is_broken or not self._book_id:
                return BookStep.LOST
            if body.first_venue_seq > self._book_id + 1:
                self._break("feed_resync")
                return BookStep.SKIPPED
            book.apply(body.bids, body.asks)
            self._book_id = body.last_venue_seq
            return BookStep.DELTA
        before = None if self.is_broken else (self._book_id, book.levels())
        self.resync_reason = self._broken_by if self.is_broken else "feed_resync"
        book.load(body.bids, body.asks)
        self.is_broken = False
        self._book_id = body.last_venue_seq
        same = before == (body.last_venue_seq, book.levels())
        return BookStep.NOTHING if same else BookStep.RESYNC

    @property
    def has_book(self) -> bool:
        """Whether a whole book is known."""
        return self._book is not None and self._book_id != 0 and not self.is_broken

    def whole_book(self) -> Kept | None:
        """The book as it stands, as one message at the line's position; made once per position."""
        last = self.tick
        if self._book is None or not self.has_book or last is None:
            return None
        if self._book_kept is None or self._book_kept.seq != self.seq:
            bids, asks = self._book.levels()
            body = Depth(self._book_id, self._book_id, bids, asks, True)
            tick = Tick(
                last.topic,
                last.epoch,
                last.seq,
                last.venue_ts_ns,
                last.recv_ts_ns,
                last.pub_ts_ns,
                body,
            )
            self._book_kept = Kept(self.epoch, self.seq, b"", tick)
        return self._book_kept

    def checksum(self) -> int:
        """CRC-32 of the ten best levels: bids, then asks, best first, ``price:size`` joined by
        ``,`` as decimal text."""
        assert self._book is not None, "only depth lines have a book"
        bids, asks = self._book.top(CHECKED_LEVELS)
        return book_checksum(bids, asks)


def book_checksum(bids: Iterable[Level], asks: Iterable[Level]) -> int:
    """See :meth:`Line.checksum`."""
    text = ",".join(
        f"{decimal_text(price)}:{decimal_text(size)}"
        for side in (bids, asks)
        for price, size in side
    )
    return zlib.crc32(text.encode("ascii"))
