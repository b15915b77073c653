"""What this bridge knows of the market: the last value of each wanted topic, and the feeds' state.

Pure: bus frames and ``now_ns`` in, views out. A *line* is one bus topic held for clients. It is
*cold* until the bus has delivered its snapshot, then *warm*; only warm lines have clients, which is
what makes the step from snapshot to live exact: the last value a line holds is the last one its
clients were sent.

Bounds: one frame per state line; at most ``history`` frames per lossless line (oldest go first,
by design; a client that asks for older ones is told ``evicted``). Lines exist only while wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bus.errors import WireError
from bus.model import Status, Tick
from bus.wire.codec import decode_frame
from bus.wsbridge.messages import Position, TopicState, epoch_text
from bus.wsbridge.topics import MarketTopic

NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Line:
    """One bus topic: its position, its last frame and, for lossless streams, the latest frames.

    ``epoch`` and ``seq`` are 0 before the first message.
    """

    key: bytes
    is_state: bool
    ring: deque[tuple[int, int, bytes]]
    warm: bool = False
    epoch: int = 0
    seq: int = 0
    frame: bytes = b""
    _tick: Tick | None = None

    def accept(self, epoch: int, seq: int, frame: bytes) -> bool:
        """Take a message if it is newer than the last one; ``False`` means it is a duplicate."""
        if epoch < self.epoch or (epoch == self.epoch and seq <= self.seq):
            return False
        self.epoch = epoch
        self.seq = seq
        self.frame = frame
        self._tick = None
        if not self.is_state:
            self.ring.append((epoch, seq, frame))
        return True

    def keep(self, tick: Tick) -> None:
        """Remember the decoded form of the last frame, so that it is decoded once."""
        self._tick = tick

    def discard_last(self) -> None:
        """The last frame turned out malformed: keep its position, forget its content."""
        if self.ring and self.ring[-1][2] is self.frame:
            self.ring.pop()
        self.frame = b""
        self._tick = None

    @property
    def tick(self) -> Tick | None:
        """The last message, decoded; ``None`` before the first, and after a malformed one."""
        if self._tick is None and self.frame:
            try:
                self._tick = decode_frame(self.frame)
            except WireError:
                self.discard_last()
        return self._tick


@dataclass(frozen=True, slots=True)
class View:
    """How a topic stands at one moment. ``age_ms`` is present when the value is stale."""

    state: TopicState
    age_ms: int | None
    epoch: str | None
    seq: int
    has_value: bool

    @property
    def stale_age_ms(self) -> int | None:
        """The age to announce beside a snapshot, when it must be announced as stale."""
        return self.age_ms if self.state in ("stale", "down") else None


@dataclass(frozen=True, slots=True)
class Recovery:
    """The answer to ``since``: recovered with these messages, or the reason why not."""

    recovered: bool
    reason: str = ""
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedView:
    """The last status of a feed (or of one of its symbols)."""

    state: str
    reason: str
    since_ts_ns: int
    detail: str | None


class Market:
    """All lines and all feed states of one bridge.

    ``ttl_ns`` gives each stream's age limit (absent: no limit); ``history`` the frames kept per
    lossless line and the most a recovery replays; ``history_age_ns`` the age beyond which a trade
    is not recovered any more.
    """

    def __init__(self, *, ttl_ns: Mapping[str, int], history: int, history_age_ns: int) -> None:
        self._ttl_ns = dict(ttl_ns)
        self._history = history
        self._history_age_ns = history_age_ns
        self.lines: dict[bytes, Line] = {}
        self._status: dict[tuple[str, str], tuple[tuple[int, int], FeedView]] = {}

    # ------------------------------------------------------------------ lines

    def open(self, topic: MarketTopic) -> Line:
        """The line of ``topic``, made cold if it is new."""
        line = self.lines.get(topic.bus_key)
        if line is None:
            ring: deque[tuple[int, int, bytes]] = deque(
                maxlen=0 if topic.is_state else self._history
            )
            line = self.lines[topic.bus_key] = Line(topic.bus_key, topic.is_state, ring)
        return line

    def drop(self, key: bytes) -> None:
        """Forget a line that nobody wants."""
        self.lines.pop(key, None)

    def is_warm(self, key: bytes) -> bool:
        """Whether the bus has told everything it had on this topic."""
        line = self.lines.get(key)
        return line is not None and line.warm

    def view(self, topic: MarketTopic, now_ns: int) -> View:
        """State, age and position of ``topic``."""
        line = self.lines.get(topic.bus_key)
        tick = None if line is None else line.tick
        feed_state = self.feed_state(topic)
        if line is None or tick is None:
            missing: TopicState = "pending"
            if feed_state in ("down", "closed"):
                missing = "down" if feed_state == "down" else "closed"
            return View(missing, None, None, 0, False)
        age_ns = max(0, now_ns - tick.pub_ts_ns)
        ttl_ns = self._ttl_ns.get(topic.stream)
        state: TopicState = "live"
        if feed_state == "down":
            state = "down"
        elif feed_state == "closed":
            state = "closed"
        elif feed_state not in ("live", "") or (ttl_ns is not None and age_ns > ttl_ns):
            state = "stale"
        age_ms = None if state == "live" else age_ns // NS_PER_MS
        return View(state, age_ms, epoch_text(line.epoch), line.seq, True)

    def latest(self, topic: MarketTopic, count: int, now_ns: int) -> list[Tick]:
        """Up to ``count`` last messages, oldest first: one at most for a state topic."""
        line = self.lines.get(topic.bus_key)
        if line is None or count <= 0:
            return []
        if line.is_state:
            return [] if line.tick is None else [line.tick]
        ticks = decoded(frame for _, _, frame in list(line.ring)[-count:])
        if topic.stream != "trades":
            return ticks
        oldest_ns = now_ns - self._history_age_ns
        return [tick for tick in ticks if tick.pub_ts_ns >= oldest_ns]

    def recover(self, topic: MarketTopic, since: Position, now_ns: int) -> Recovery:
        """What a client that saw ``since`` has missed, or why it cannot be told exactly."""
        line = self.lines.get(topic.bus_key)
        if line is None or not line.frame or since.epoch != epoch_text(line.epoch):
            return Recovery(False, "epoch")
        missed = line.seq - since.seq
        if missed <= 0:
            return Recovery(True)
        if line.is_state:
            return Recovery(True, ticks=() if line.tick is None else (line.tick,))
        if missed > self._history:
            return Recovery(False, "too_many")
        frames = tuple(
            frame for epoch, seq, frame in line.ring if epoch == line.epoch and seq > since.seq
        )
        ticks = decoded(frames)
        if len(ticks) != missed:
            return Recovery(False, "evicted")
        too_old = now_ns - self._history_age_ns
        if topic.stream == "trades" and ticks[0].pub_ts_ns < too_old:
            return Recovery(False, "evicted")
        return Recovery(True, ticks=tuple(ticks))

    # ------------------------------------------------------------------ feeds

    def accept_status(self, tick: Tick) -> bool:
        """Take a message of a status topic if it is newer; ``False`` means it is a duplicate."""
        assert isinstance(tick.body, Status), "status topics carry Status bodies"
        where = (tick.topic.venue, tick.topic.symbol)
        position = (tick.epoch, tick.seq)
        known = self._status.get(where)
        if known is not None and position <= known[0]:
            return False
        body = tick.body
        view = FeedView(body.state, body.reason, body.since_ts_ns, body.detail)
        self._status[where] = (position, view)
        return True

    def feed(self, name: str, symbol: str = "") -> FeedView | None:
        """The last status of a feed, or of one symbol of it; ``None`` if there was none yet."""
        known = self._status.get((name, symbol))
        return None if known is None else known[1]

    def feed_state(self, topic: MarketTopic) -> str:
        """The state of what serves ``topic``: the worse of its feed's and its symbol's.

        Empty when neither has said anything yet.
        """
        feed = self.feed(topic.feed)
        symbol = self.feed(topic.feed, topic.feed_symbol) if topic.feed_symbol else None
        states = [view.state for view in (feed, symbol) if view is not None]
        for state in _WORST_FIRST:
            if state in states:
                return state
        return ""


def decoded(frames: Iterable[bytes]) -> list[Tick]:
    """The ticks of ``frames``, malformed ones left out."""
    ticks: list[Tick] = []
    for frame in frames:
        try:
            ticks.append(decode_frame(frame))
        except WireError:
            continue
    return ticks


_WORST_FIRST = ("down", "closed", "connecting", "recovering", "stale", "live")
