"""What the cache keeps of one topic: the newest frames, oldest first, and where they connect.

Messages pass a million times a second, so that all that happens to one is ``list.append``. From
time to time :meth:`Ring.settle` looks at what has come: it drops what breaks the wire format or
comes from a publisher that was replaced, joins the rest into one piece of memory, and drops the
pieces that are no longer needed. Joining is not for order's sake: a ring of separate frames frees
memory that has long left the processor's cache, once per message, and costs a third more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Final

from bus.errors import PayloadError
from bus.model.streams import StreamKind
from bus.wire.codec import HEADER_FIELDS, position, split, unpack

_DEPTH_FIELDS: Final = HEADER_FIELDS + 5
_DEPTH_TAG: Final = 0x90 | _DEPTH_FIELDS
_MSGPACK_TRUE: Final = 0xC3
_UINT64_TAG: Final = 0xCF
_FRAME_OVERHEAD_BYTES: Final = 41  # a bytes object without its bytes, and its slot in a list
_CHUNK_OVERHEAD_BYTES: Final = 150


class Rejected:
    """Messages left out of the cache, counted over all rings."""

    __slots__ = ("malformed", "outdated")

    def __init__(self) -> None:
        self.malformed = 0
        self.outdated = 0


class _Chunk:
    """Consecutive frames, as one blob in which each begins with ``head``, or else as they came."""

    __slots__ = ("_blob", "_frames", "_head", "count", "is_start", "size_bytes")

    def __init__(self, frames: list[bytes], head: bytes, *, is_start: bool = False) -> None:
        blob = b"".join(frames) if head else b""
        # Also false when a frame holds the head inside: it could not be told apart again.
        # The topic before the NUL byte is the same anyway, and a shorter needle is found sooner.
        needle = head[head.find(b"\0") :]
        uniform = bool(head) and blob.count(needle) == len(frames)
        self.count: Final = len(frames)
        self.is_start: Final = is_start
        self._head: Final = head if uniform else b""
        self._blob: Final = blob if uniform else b""
        self._frames: Final[list[bytes]] = [] if uniform else frames
        loose = 0 if uniform else sum(map(len, frames)) + _FRAME_OVERHEAD_BYTES * len(frames)
        self.size_bytes: Final = len(self._blob) + loose + _CHUNK_OVERHEAD_BYTES

    @property
    def uniform(self) -> bool:
        """Whether every frame began with the head."""
        return bool(self._head)

    def frames(self) -> list[bytes]:
        """The frames, in order."""
        if not self._head:
            return self._frames
        return [self._head + rest for rest in self._blob.split(self._head)[1:]]


class Ring:
    """The retained frames of one topic.

    ``append`` takes a frame unseen; :meth:`settle` sees to it later, every answer does so first.
    ``epoch`` is that of the topic's last publisher.
    """

    __slots__ = (
        "_chunks",
        "_fresh",
        "_head",
        "_held",
        "_rejected",
        "append",
        "bytes_held",
        "epoch",
        "kind",
        "size",
        "topic",
    )

    def __init__(self, topic: bytes, kind: StreamKind, size: int, rejected: Rejected) -> None:
        self.topic: Final = topic
        self.kind: Final = kind
        self.size: Final = size
        self.epoch = -1
        self.bytes_held = 0
        self._head = b""
        self._rejected: Final = rejected
        self._fresh: Final[list[bytes]] = []
        self._chunks: deque[_Chunk] = deque()
        self._held = 0
        self.append: Final = self._fresh.append

    def __len__(self) -> int:
        """Frames in memory, unsettled ones included."""
        return self._held + len(self._fresh)

    # --- taking in ------------------------------------------------------------------------------

    def settle(self, least: int = 1) -> None:
        """See to the frames that came since, if they are at least ``least``; drop what is spent.

        A state topic keeps its last frame. Others keep ``size`` frames, up to a chunk more; a delta
        topic no more than the stretch before its last snapshot and what follows.
        """
        fresh = self._fresh
        if not fresh:
            return
        if self.kind is StreamKind.STATE:
            # Not the last alone: a straggler of a replaced publisher may follow a newer value. If
            # the least and the greatest begin with the head, so does every frame between them.
            head = self._head
            if not (head and min(fresh).startswith(head) and max(fresh).startswith(head)):
                fresh[:] = [frame for frame in fresh if self._admit(frame)]
            while fresh and frame_position(fresh[-1]) is None:  # cut off right behind the head
                self._rejected.malformed += 1
                fresh.pop()
            del fresh[:-1]
            return
        if len(fresh) < least:
            return
        # Joining and counting heads checks all frames at once; books need a closer look.
        chunk = _Chunk(fresh[:], self._head)
        if chunk.uniform and not (self.kind is StreamKind.DELTA and self._may_hold_a_book(fresh)):
            self._push(chunk)
        else:
            self._settle_groups()
        fresh.clear()
        while self._chunks and self._held - self._chunks[0].count >= self.size:
            self._held -= self._chunks.popleft().count

    def _settle_groups(self) -> None:
        """One by one: a new chunk for each head, and for each depth snapshot."""
        group: list[bytes] = []
        head, starts, is_delta = self._head, False, self.kind is StreamKind.DELTA
        for frame in self._fresh:
            if not self._admit(frame):
                continue
            is_snapshot = is_delta and is_depth_snapshot(frame, len(self.topic) + 1)
            if group and (is_snapshot or head != self._head):
                self._push(_Chunk(group, head, is_start=starts))
                group, starts = [], False
            head, starts = self._head, starts or is_snapshot
            group.append(frame)
            if is_snapshot:
                self._forget_spent()
        if group:
            self._push(_Chunk(group, head, is_start=starts))

    def _may_hold_a_book(self, frames: list[bytes]) -> bool:
        """Whether a depth snapshot may be among frames that all begin with the head."""
        plain = self._head[len(self.topic) + 1] == _DEPTH_TAG
        return not plain or _MSGPACK_TRUE in [frame[-1] for frame in frames]

    def _admit(self, frame: bytes) -> bool:
        """Whether a frame belongs here; a greater epoch becomes the ring's."""
        if self._head and frame.startswith(self._head):
            return True
        begin = len(self.topic) + 1
        try:
            epoch, _seq = position(frame[begin:])
        except PayloadError:
            self._rejected.malformed += 1
            return False
        if epoch < self.epoch:
            self._rejected.outdated += 1
            return False
        self.epoch = epoch
        # Array tag, schema and epoch. Another encoding of the epoch is legal, and rare: no head.
        begin += 2 if frame[begin] < 0xA0 else 4
        self._head = frame[: begin + 9] if frame[begin] == _UINT64_TAG else b""
        return True

    def _push(self, chunk: _Chunk) -> None:
        self._chunks.append(chunk)
        self._held += chunk.count

    def _forget_spent(self) -> None:
        """A new depth snapshot has come: the stretch it ends stays for repairs, older ones go."""
        while any(chunk.is_start for chunk in list(self._chunks)[1:]):
            self._held -= self._chunks.popleft().count

    # --- answering ------------------------------------------------------------------------------

    def held(self) -> list[bytes]:
        """The newest frames, at most ``size``, oldest first."""
        self.settle()
        if self.kind is StreamKind.STATE:
            return self._fresh[:]
        frames = [frame for chunk in self._chunks for frame in chunk.frames()]
        return frames[-self.size :]

    def snapshot(self) -> list[bytes]:
        """What a late joiner needs, in order; empty when a depth topic has no usable start."""
        frames = self.held()
        if self.kind is not StreamKind.DELTA:
            return frames
        begin = len(self.topic) + 1
        for index in range(len(frames) - 1, -1, -1):
            if is_depth_snapshot(frames[index], begin):
                chain = frames[index:]
                return chain if connected(chain) else []
        return []

    def replay(self, epoch: int, seq: int) -> list[bytes] | tuple[int, int]:
        """Every frame after (``epoch``, ``seq``), in order; empty when there is none.

        If the position is not held, or a hole lies after it, the oldest (epoch, seq) from which
        everything up to now is held, instead.
        """
        wanted = (epoch, seq)
        after: list[bytes] = []
        following: tuple[int, int] | None = None
        for frame in reversed(self.held()):
            found = frame_position(frame)
            if found is None:  # damaged behind its head: it is nobody's message
                continue
            if found <= wanted:
                # An epoch may only begin right behind the very message the consumer saw last.
                if following is None or follows(wanted, following, known=found == wanted):
                    after.reverse()
                    return after
                return following
            if following is not None and not follows(found, following):
                return following
            after.append(frame)
            following = found
        if following is not None and not follows(wanted, following, known=False):
            return following
        after.reverse()
        return after

    # --- making room ----------------------------------------------------------------------------

    def forget_older_than(self, published_ns: int) -> int:
        """Drop frames published before ``published_ns``, but keep the last; how many went."""
        before = len(self)
        self.settle()
        while self._chunks:
            frames = self._chunks[0].frames()
            spent = bisect_left(frames, published_ns, key=_published_ns)
            if spent == 0:
                break
            is_last = len(self._chunks) == 1
            self._drop_from_first(frames, min(spent, len(frames) - 1) if is_last else spent)
            if is_last or spent < len(frames):
                break
        return before - len(self)

    def forget_oldest_half(self) -> int:
        """Make room, but keep the last frame; how many frames went."""
        before = len(self)
        self.settle()
        surplus = self._held // 2
        while surplus > 0 and self._chunks:
            frames = self._chunks[0].frames()
            self._drop_from_first(frames, min(surplus, len(frames)))
            surplus -= len(frames)
        return before - len(self)

    def _drop_from_first(self, frames: list[bytes], count: int) -> None:
        """Replace the first chunk, whose ``frames`` these are, by all but its first ``count``."""
        self._chunks.popleft()
        self._held -= count
        if count < len(frames):
            cut = len(self.topic) + 1
            is_start = self.kind is StreamKind.DELTA and is_depth_snapshot(frames[count], cut)
            self._chunks.appendleft(_Chunk(frames[count:], self._head, is_start=is_start))

    def measure(self) -> int:
        """The memory held, about; also noted in ``bytes_held``."""
        fresh = self._fresh
        loose = len(fresh) * (len(fresh[-1]) + _FRAME_OVERHEAD_BYTES) if fresh else 0
        self.bytes_held = loose + sum([chunk.size_bytes for chunk in self._chunks])
        return self.bytes_held


def follows(earlier: tuple[int, int], later: tuple[int, int], *, known: bool = True) -> bool:
    """Whether nothing is missing between two positions.

    A new epoch begins at 1; that counts only if ``earlier`` is ``known`` to have been the last of
    its own.
    """
    if earlier[0] == later[0]:
        return later[1] == earlier[1] + 1
    return known and later[0] > earlier[0] and later[1] == 1


def connected(frames: list[bytes]) -> bool:
    """Whether the frames are consecutive messages of one epoch."""
    before: tuple[int, int] | None = None
    for frame in frames:
        found = frame_position(frame)
        if found is None or (
            before is not None and (found[0] != before[0] or found[1] != before[1] + 1)
        ):
            return False
        before = found
    return True


def frame_position(frame: bytes) -> tuple[int, int] | None:
    """The (epoch, seq) of a frame, or None when it is damaged behind its head."""
    try:
        return position(split(frame)[1])
    except PayloadError:
        return None


def is_depth_snapshot(frame: bytes, begin: int) -> bool:
    """Whether a frame of the depth stream, whose payload begins at ``begin``, is a whole book.

    ``is_snapshot`` is the last field of today's array of 11, hence its last byte; a longer array,
    of a newer publisher, is decoded.
    """
    if frame[begin] == _DEPTH_TAG:
        return frame[-1] == _MSGPACK_TRUE
    try:
        fields = unpack(frame[begin:])
    except PayloadError:
        return False
    return len(fields) >= _DEPTH_FIELDS and fields[_DEPTH_FIELDS - 1] is True


def _published_ns(frame: bytes) -> int:
    """When a frame was published; 0, which is long ago, when it is damaged."""
    try:
        fields = unpack(split(frame)[1])
    except PayloadError:
        return 0
    value = fields[HEADER_FIELDS - 1] if len(fields) >= HEADER_FIELDS else None
    return value if isinstance(value, int) else 0
