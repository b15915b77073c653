"""What the cache keeps of one topic: the newest frames, oldest first, and where they connect.

A ring only appends; its ``maxlen`` drops the oldest. Whether two neighbours are consecutive is
looked at when somebody asks, not when a message passes: messages pass a million times a second.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from bus.errors import PayloadError
from bus.model.streams import StreamKind
from bus.wire.codec import HEADER_FIELDS, position, split, unpack

_DEPTH_FIELDS: Final = HEADER_FIELDS + 5
_DEPTH_TAG: Final = 0x90 | _DEPTH_FIELDS
_MSGPACK_TRUE: Final = 0xC3
_FRAME_OVERHEAD_BYTES: Final = 41  # a bytes object without its bytes (33), a slot of the deque (8)


class Ring:
    """The retained frames of one topic.

    ``head`` is how the payload of every message of the current epoch begins (array tag, schema,
    epoch), or an empty tuple where that cannot be told; ``append`` is the bound ``deque.append``:
    both are read once per message.
    """

    __slots__ = ("append", "bytes_estimate", "epoch", "frames", "head", "kind", "topic")

    def __init__(self, topic: bytes, kind: StreamKind, size: int) -> None:
        self.topic: Final = topic
        self.kind: Final = kind
        self.frames: Final[deque[bytes]] = deque(maxlen=size)
        self.append: Final = self.frames.append
        self.epoch = 0
        self.head: bytes | tuple[()] = ()
        self.bytes_estimate = 0

    def snapshot(self) -> list[bytes]:
        """What a late joiner needs, in order; empty when a depth topic has no usable start."""
        if self.kind is not StreamKind.DELTA:
            return list(self.frames)
        return self._depth_chain()

    def _depth_chain(self) -> list[bytes]:
        """The last depth snapshot and every delta since, if they connect."""
        chain: list[bytes] = []
        for frame in reversed(self.frames):
            chain.append(frame)
            if is_depth_snapshot(frame):
                chain.reverse()
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
        for frame in reversed(self.frames):
            found = frame_position(frame)
            if found is not None and found <= wanted:
                # An epoch may only begin right behind the very message the consumer saw last.
                if following is None or follows(wanted, following, known=found == wanted):
                    after.reverse()
                    return after
                return following
            if found is None or (following is not None and not follows(found, following)):
                return following or (0, 0)
            after.append(frame)
            following = found
        if following is not None and not follows(wanted, following, known=False):
            return following
        after.reverse()
        return after

    def forget_older_than(self, published_ns: int) -> int:
        """Drop frames published before ``published_ns``, but keep the last; how many went."""
        dropped = 0
        while len(self.frames) > 1:
            when = _published_ns(self.frames[0])
            if when is not None and when >= published_ns:
                break
            self.frames.popleft()
            dropped += 1
        return dropped

    def forget_spent_depth(self) -> int:
        """Keep a depth topic's last snapshot and the stretch before it; how many frames went."""
        stretches = 0
        for back, frame in enumerate(reversed(self.frames)):
            if is_depth_snapshot(frame):
                stretches += 1
                if stretches == 2:
                    return self._drop_oldest(len(self.frames) - back - 1)
        return 0

    def forget_oldest_half(self) -> int:
        """Make room, but keep the last frame; how many frames went."""
        return self._drop_oldest(len(self.frames) // 2)

    def _drop_oldest(self, count: int) -> int:
        for _ in range(count):
            self.frames.popleft()
        return count

    def measure(self) -> int:
        """Estimate the bytes held, from up to 16 frames spread over the ring, and note it."""
        count = len(self.frames)
        sampled = list(islice(self.frames, 0, None, max(1, count // 16)))
        mean = sum(map(len, sampled)) / max(1, len(sampled)) + _FRAME_OVERHEAD_BYTES
        self.bytes_estimate = int(mean * count)
        return self.bytes_estimate


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


def is_depth_snapshot(frame: bytes) -> bool:
    """Whether a frame of the depth stream carries a whole book.

    ``is_snapshot`` is the last field of today's array of 11, hence its last byte; a longer array,
    of a newer publisher, is decoded.
    """
    tag = frame[frame.find(b"\0") + 1]
    if tag == _DEPTH_TAG:
        return frame[-1] == _MSGPACK_TRUE
    try:
        fields = unpack(split(frame)[1])
    except PayloadError:
        return False
    return len(fields) >= _DEPTH_FIELDS and fields[_DEPTH_FIELDS - 1] is True


def _published_ns(frame: bytes) -> int | None:
    try:
        fields = unpack(split(frame)[1])
    except PayloadError:
        return None
    value = fields[HEADER_FIELDS - 1] if len(fields) >= HEADER_FIELDS else None
    return value if isinstance(value, int) else None
