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
  (``malformed``). Of state topics those are counted only if they were not followed by a good one
  before anybody looked.

Age never deletes a last value; readers judge staleness by its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bus.broker.ring import Rejected, Ring
from bus.clock import NS_PER_SECOND
from bus.config.broker import BrokerSettings
from bus.errors import WireError
from bus.model.streams import STREAMS, StreamKind
from bus.wire.codec import position, split
from bus.wire.requests import Gone
from bus.wire.topic import parse_topic

_SETTLE_EVERY: Final = 16_384
_SETTLE_PER_TOPIC: Final = 16
"""Rings settle after so many messages, whichever is more: what is held beyond their sizes is
bounded by this, and looking at every topic costs a message next to nothing."""
_SETTLE_LEAST: Final = 32
"""Fewer new messages of a topic than this wait for the sweep, or for somebody to ask."""

_SWEEP_STEPS: Final = 1_000
"""Topics that one call of :meth:`LastValueCache.sweep` looks at: a few milliseconds."""


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
    """Messages received since the start, those left out included."""
    malformed: int
    """Messages that break the wire format, not cached."""
    outdated: int
    """Messages of a publisher that was replaced by a newer one, not cached."""
    refused: int
    """Messages of topics beyond ``max_topics``, not cached."""
    expired: int
    """Messages dropped for their age."""
    evicted: int
    """Messages dropped for memory."""
    headless: int
    """Snapshots of a depth topic that had to be empty."""


class LastValueCache:
    """See the module. One thread only.

    A message on the topic ``probe`` is not cached but counted in ``probes``: its owner's own.
    """

    def __init__(self, settings: BrokerSettings, probe: bytes | None = None) -> None:
        self._settings: Final = settings
        self._probe: Final = probe
        self.probes = 0
        self._rings: dict[bytes, Ring] = {}
        self._appends: dict[bytes, Callable[[bytes], None]] = {}
        self._rejected: Final = Rejected()
        self._below: dict[bytes, list[Ring]] = {}
        self._sweeping: Iterator[Ring] = iter(())
        self._sweep_frames = self._sweep_bytes = 0
        self._frames = self._bytes = 0
        self._unsettled = self._stored = self._refused = 0
        self._expired = self._evicted = self._headless = 0

    def store(self, frames: Sequence[bytes]) -> None:
        """Take messages in the order the proxy forwarded them. Never raises on their content."""
        appends = self._appends
        for frame in frames:
            try:
                appends[frame.partition(b"\0")[0]](frame)
            except KeyError:
                self._store_first(frame)
        self._stored += len(frames)
        self._unsettled += len(frames)
        if self._unsettled >= max(_SETTLE_EVERY, _SETTLE_PER_TOPIC * len(appends)):
            self._unsettled = 0
            for ring in self._rings.values():
                ring.settle(_SETTLE_LEAST)

    def _store_first(self, frame: bytes) -> None:
        """The first message of a topic."""
        try:
            topic, payload = split(frame)
            if topic == self._probe:
                self.probes += 1
                self._stored -= 1
                return
            stream = parse_topic(topic).stream
            position(payload)
        except WireError:
            self._rejected.malformed += 1
            return
        if len(self._rings) >= self._settings.max_topics:
            self._refused += 1
            return
        ring = Ring(topic, STREAMS[stream].kind, self._size_of(stream), self._rejected)
        ring.append(frame)
        ring.settle()
        self._rings[topic] = ring
        self._appends[topic] = ring.append
        cut = topic.find(b"/")
        while cut >= 0:
            self._below.setdefault(topic[: cut + 1], []).append(ring)
            cut = topic.find(b"/", cut + 1)

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
        for _ in range(_SWEEP_STEPS):
            ring = next(self._sweeping, None)
            if ring is None:
                self._end_sweep()
                return
            if ring.kind is StreamKind.EVENT and ring.topic.startswith(b"md/trades/"):
                self._expired += ring.forget_older_than(oldest_ns)
            else:
                ring.settle()
            self._sweep_bytes += ring.measure()
            self._sweep_frames += len(ring)

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
                (ring for ring in self._rings.values() if len(ring) > 1),
                key=lambda ring: ring.bytes_held,
                reverse=True,
            )
            if not largest:
                return
            for ring in largest[: max(1, len(largest) // 10)]:
                before = ring.bytes_held
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
            malformed=self._rejected.malformed,
            outdated=self._rejected.outdated,
            refused=self._refused,
            expired=self._expired,
            evicted=self._evicted,
            headless=self._headless,
        )
