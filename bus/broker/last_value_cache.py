"""What the broker remembers: per topic the last value, the recent events, or the book's changes.

Frames in, frames out; no socket, no thread, no clock. ``now_ns`` is wall-clock, ns since 1970.

=========  =====================================================================================
class      kept per topic
=========  =====================================================================================
``state``  the last message
``event``  a ring: trades by number and age, news by number; always at least the last message
``delta``  the last depth snapshot and every message since, and the stretch before that snapshot
           for repairs; bounded by ``depth_ring`` messages
=========  =====================================================================================

Policies at the bounds, each with a counter in :class:`CacheStats`:

* ``max_topics``: further topics pass through uncached (``refused``).
* ``max_bytes``: the largest event and delta rings lose their older half until it fits
  (``evicted``); last values are never dropped.
* ``depth_ring``: when the last depth snapshot has been pushed out, or a hole lies behind it, a
  late joiner gets nothing of the topic until the next snapshot (``headless``): a book made from
  the rest would be wrong. Replay goes on as far as it reaches.
* A message whose epoch is less than its topic's last one comes from a publisher that was
  replaced: it is not cached (``outdated``). One that breaks the wire format neither
  (``malformed``).

Age never deletes a last value; readers judge staleness by its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bus.broker.ring import Ring
from bus.clock import NS_PER_SECOND
from bus.config.broker import BrokerSettings
from bus.errors import WireError
from bus.model.streams import STREAMS, StreamKind
from bus.wire.codec import position, split
from bus.wire.requests import Gone
from bus.wire.topic import parse_topic

_SWEEP_STEPS: Final = 500
"""How much one call of :meth:`LastValueCache.sweep` looks at: a topic is a step, and so are 100
messages of a depth topic. A few milliseconds."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Figures of the cache; the first three are as of now, the others only grow."""

    topics: int
    """Topics cached."""
    frames: int
    """Messages held, as of the last full sweep."""
    bytes: int
    """Their memory, estimated, as of the last full sweep."""
    stored: int
    """Messages cached since the start."""
    malformed: int
    """Messages that break the wire format, not cached."""
    outdated: int
    """Messages of a publisher that was replaced by a newer one, not cached."""
    refused: int
    """Messages of topics beyond ``max_topics``, not cached."""
    expired: int
    """Messages dropped for their age, or because a newer depth snapshot replaced them."""
    evicted: int
    """Messages dropped for memory."""
    headless: int
    """Snapshots of a depth topic that had to be empty."""


class LastValueCache:
    """See the module. One thread only."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings: Final = settings
        self._rings: dict[bytes, Ring] = {}
        self._below: dict[bytes, list[Ring]] = {}
        self._sweeping: Iterator[Ring] = iter(())
        self._sweep_frames = self._sweep_bytes = 0
        self._frames = self._bytes = 0
        self._stored = self._malformed = self._outdated = self._refused = 0
        self._expired = self._evicted = self._headless = 0

    def store(self, frames: Iterable[bytes]) -> None:
        """Take messages in the order the proxy forwarded them. Never raises on their content."""
        rings = self._rings
        stored = 0
        for frame in frames:
            topic, _, payload = frame.partition(b"\0")
            try:
                ring = rings[topic]
            except KeyError:
                self._store_first(topic, payload, frame)
                continue
            # The head proves tag, schema and epoch without decoding; the rest is decoded, and
            # judged, when somebody asks for it.
            if payload.startswith(ring.head):
                ring.append(frame)
                stored += 1
            else:
                self._store_changed(ring, payload, frame)
        self._stored += stored

    def _store_first(self, topic: bytes, payload: bytes, frame: bytes) -> None:
        """The first message of a topic."""
        try:
            split(frame)
            stream = parse_topic(topic).stream
            epoch, _seq = position(payload)
        except WireError:
            self._malformed += 1
            return
        if len(self._rings) >= self._settings.max_topics:
            self._refused += 1
            return
        ring = Ring(topic, STREAMS[stream].kind, self._size_of(stream))
        self._rings[topic] = ring
        cut = topic.find(b"/")
        while cut >= 0:
            self._below.setdefault(topic[: cut + 1], []).append(ring)
            cut = topic.find(b"/", cut + 1)
        self._begin_epoch(ring, epoch, payload)
        ring.append(frame)
        self._stored += 1

    def _store_changed(self, ring: Ring, payload: bytes, frame: bytes) -> None:
        """A message of another epoch, another encoding of its header, or garbage."""
        try:
            epoch, _seq = position(payload)
        except WireError:
            self._malformed += 1
            return
        if epoch < ring.epoch:
            self._outdated += 1
            return
        self._begin_epoch(ring, epoch, payload)
        ring.append(frame)
        self._stored += 1

    def _begin_epoch(self, ring: Ring, epoch: int, payload: bytes) -> None:
        ring.epoch = epoch
        length = 2 if payload[0] < 0xA0 else 4  # array tag and schema
        # An epoch in another encoding than uint64 is legal and rare: no head, all go the long way
        # (nothing starts with any of no prefixes).
        ring.head = payload[: length + 9] if payload[length : length + 1] == b"\xcf" else ()

    def _size_of(self, stream: str) -> int:
        kind = STREAMS[stream].kind
        if kind is StreamKind.STATE:
            return 1
        if kind is StreamKind.DELTA:
            return self._settings.depth_ring
        return self._settings.news_ring if stream == "news" else self._settings.trades_ring

    def snapshot(self, prefix: bytes) -> Iterator[list[bytes]]:
        """Everything cached under ``prefix``, topic by topic, each list in order.

        The iterator may be drawn out over time while messages are stored: each topic is taken as
        it is when its turn comes, and topics that appear meanwhile are included.
        """
        for ring in self._below.get(prefix, ()):
            frames = ring.snapshot()
            if not frames:
                self._headless += 1
            yield frames

    def replay(self, topic: bytes, epoch: int, seq: int) -> list[bytes] | Gone:
        """Every retained message of ``topic`` after (``epoch``, ``seq``), in order, or `Gone`."""
        ring = self._rings.get(topic)
        if ring is None:
            return Gone(0, 0)
        found = ring.replay(epoch, seq)
        return Gone(*found) if isinstance(found, tuple) else found

    def sweep(self, now_ns: int) -> None:
        """Drop what is too old, measure memory and make room; a slice of the topics a call."""
        oldest_ns = now_ns - int(self._settings.trades_ring_age_s * NS_PER_SECOND)
        steps = 0
        while steps < _SWEEP_STEPS:
            ring = next(self._sweeping, None)
            if ring is None:
                self._end_sweep()
                return
            if ring.kind is StreamKind.EVENT and ring.topic.startswith(b"md/trades/"):
                self._expired += ring.forget_older_than(oldest_ns)
            elif ring.kind is StreamKind.DELTA:
                steps += len(ring.frames) // 100
                self._expired += ring.forget_spent_depth()
            self._sweep_bytes += ring.measure()
            self._sweep_frames += len(ring.frames)
            steps += 1

    def _end_sweep(self) -> None:
        excess = self._sweep_bytes - self._settings.max_bytes
        if excess > 0:
            self._make_room(excess)
        self._frames, self._bytes = self._sweep_frames, self._sweep_bytes
        self._sweep_frames = self._sweep_bytes = 0
        self._sweeping = iter(list(self._rings.values()))

    def _make_room(self, excess: int) -> None:
        """Halve the largest rings until ``excess`` bytes are gone or only last values remain."""
        while excess > 0:
            largest = sorted(
                (ring for ring in self._rings.values() if len(ring.frames) > 1),
                key=lambda ring: ring.bytes_estimate,
                reverse=True,
            )
            if not largest:
                return
            for ring in largest[: max(1, len(largest) // 10)]:
                before = ring.bytes_estimate
                dropped = ring.forget_oldest_half()
                freed = before - ring.measure()
                self._evicted += dropped
                self._sweep_frames -= dropped
                self._sweep_bytes -= freed
                excess -= freed
                if excess <= 0:
                    return

    def stats(self) -> CacheStats:
        """The figures, frozen."""
        return CacheStats(
            topics=len(self._rings),
            frames=self._frames,
            bytes=self._bytes,
            stored=self._stored,
            malformed=self._malformed,
            outdated=self._outdated,
            refused=self._refused,
            expired=self._expired,
            evicted=self._evicted,
            headless=self._headless,
        )
