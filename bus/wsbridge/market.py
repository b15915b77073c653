"""What this bridge knows of the market: the last value of each wanted topic, and the feeds' state.

Pure: bus frames and ``now_ns`` in, views out. Lines (:mod:`bus.wsbridge.lines`) exist only while
wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bus.config import Settings
from bus.config.venues import MARKET_STREAMS
from bus.model import Status, Tick
from bus.model.trade_loss import lost_count
from bus.wsbridge.lines import Kept, Line
from bus.wsbridge.messages import Position, TopicState, epoch_text
from bus.wsbridge.topics import MarketTopic

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class View:
    """How a topic stands at one moment. ``age_ms`` is present when the value is stale.

    ``has_value``: there is one to be given; one that has expired is not.
    """

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
    missed: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedView:
    """The last status of a feed (or of one of its symbols)."""

    state: str
    reason: str
    since_ts_ns: int
    detail: str | None


class Market:
    """All lines and all feed states of one bridge.

    ``ttl_ns`` gives each stream's age limit (absent: no limit), ``symbol_ttl_ns`` that of single
    instruments by (stream, source, symbol of the feed); ``history`` the messages kept per
    lossless line and the most a recovery replays; ``history_age_ns`` the age beyond which a trade
    is not recovered any more. With ``expire`` a value past its TTL is given to nobody, unless its
    market is closed; the whole book that the changes of a ``#delta`` topic apply to never expires.
    """

    def __init__(
        self,
        *,
        ttl_ns: Mapping[str, int],
        history: int,
        history_age_ns: int,
        symbol_ttl_ns: Mapping[tuple[str, str, str], int] = MappingProxyType({}),
        expire: bool = False,
    ) -> None:
        self._ttl_ns = dict(ttl_ns)
        self._symbol_ttl_ns = dict(symbol_ttl_ns)
        self._expire = expire
        self._history = history
        self._history_age_ns = history_age_ns
        self.lines: dict[bytes, Line] = {}
        self._status: dict[tuple[str, str], tuple[tuple[int, int], FeedView]] = {}
        self._status_heard_ns: dict[str, int] = {}
        self.on_loss: Callable[[str, str, int], None] = lambda _feed, _symbol, _count: None
        """Called when a feed states that so many trades of a symbol are lost."""

    # ------------------------------------------------------------------ lines

    def open(self, topic: MarketTopic) -> Line:
        """The line of ``topic``, made cold if it is new."""
        line = self.lines.get(topic.bus_key)
        if line is None:
            line = self.lines[topic.bus_key] = Line(topic, self._history)
        return line

    def drop(self, key: bytes) -> None:
        """Forget a line that nobody wants."""
        self.lines.pop(key, None)

    def is_warm(self, key: bytes) -> bool:
        """Whether the bus has told everything it had on this topic."""
        line = self.lines.get(key)
        return line is not None and line.warm

    def is_behind(self, key: bytes, since: Position) -> bool:
        """Whether a client has seen more of this topic than this bridge has yet.

        Also of a publisher started later than the last one this bridge has heard.
        """
        line = self.lines.get(key)
        if line is None or line.epoch == 0:
            return False
        own = epoch_text(line.epoch)
        if own == since.epoch:
            return line.seq < since.seq
        return (len(own), own) < (len(since.epoch), since.epoch)  # digits of base 36, no zeros

    def ttl_ns(self, topic: MarketTopic) -> int | None:
        """The age beyond which a value of ``topic`` is stale; ``None``: it never is."""
        own_ns = self._symbol_ttl_ns.get((topic.stream, topic.source, topic.feed_symbol))
        return self._ttl_ns.get(topic.stream) if own_ns is None else own_ns

    def view(self, topic: MarketTopic, now_ns: int) -> View:
        """State, age and position of ``topic``."""
        line = self.lines.get(topic.bus_key)
        tick = None if line is None else line.tick
        feed_state = self.feed_state(topic)
        if line is None or tick is None or (line.is_delta and not line.has_book):
            missing: TopicState = "pending"
            if feed_state in ("down", "closed"):
                missing = "down" if feed_state == "down" else "closed"
            return View(missing, None, None, 0, False)
        age_ns = max(0, now_ns - tick.pub_ts_ns)
        ttl_ns = self.ttl_ns(topic)
        is_old = ttl_ns is not None and age_ns > ttl_ns
        state: TopicState = "live"
        if feed_state == "down":
            state = "down"
        elif feed_state == "closed":
            state = "closed"
        elif feed_state not in ("live", "") or is_old:
            state = "stale"
        age_ms = None if state == "live" else age_ns // NS_PER_MS
        is_expired = self._expire and is_old and state != "closed" and not line.is_delta
        return View(state, age_ms, epoch_text(line.epoch), line.seq, not is_expired)

    def latest(self, topic: MarketTopic, count: int, now_ns: int) -> list[Kept]:
        """Up to ``count`` last messages, oldest first: one at most for a state topic.

        Of a depth topic it is the whole book.
        """
        line = self.lines.get(topic.bus_key)
        if line is None or count <= 0:
            return []
        if line.is_delta:
            book = line.whole_book()
            return [] if book is None else [book]
        if self._expire and not self.view(topic, now_ns).has_value:
            return []
        if line.is_state:
            return [] if line.tick is None or line.last is None else [line.last]
        if topic.stream == "trades":
            self._forget_old(line, topic, now_ns)
        return list(line.ring)[-count:]

    def _forget_old(self, line: Line, topic: MarketTopic, now_ns: int) -> None:
        """Drop what is too old to be told; each message is looked at once on its way out."""
        age_ns = self._history_age_ns
        if self._expire and (ttl_ns := self.ttl_ns(topic)) is not None:
            age_ns = min(age_ns, ttl_ns)
        oldest_ns = now_ns - age_ns
        ring = line.ring
        while ring and ((tick := ring[0].tick) is None or tick.pub_ts_ns < oldest_ns):
            ring.popleft()

    def recover(self, topic: MarketTopic, since: Position, now_ns: int) -> Recovery:
        """What a client that saw ``since`` has missed, or why it cannot be told exactly."""
        line = self.lines.get(topic.bus_key)
        if line is None or not line.warm:
            return Recovery(False, "disabled")  # the bus has not answered: nothing can be said
        if line.epoch == 0 or since.epoch != epoch_text(line.epoch) or since.seq > line.seq:
            return Recovery(False, "epoch")
        missed = line.seq - since.seq
        if missed == 0:
            return Recovery(True)
        if line.is_state:
            last = line.last
            if self._expire and not self.view(topic, now_ns).has_value:
                return Recovery(False, "evicted")
            return Recovery(True, missed=() if last is None or last.tick is None else (last,))
        if missed > self._history:
            return Recovery(False, "too_many")
        if topic.stream == "trades":
            self._forget_old(line, topic, now_ns)
        found: list[Kept] = []
        for kept in reversed(line.ring):  # a client has mostly missed the last few of a thousand
            if kept.epoch != line.epoch or kept.seq <= since.seq:
                break
            if kept.tick is not None:
                found.append(kept)
        if len(found) != missed or line.is_broken:
            return Recovery(False, "evicted")
        return Recovery(True, missed=tuple(reversed(found)))

    # ------------------------------------------------------------------ feeds

    def accept_status(self, tick: Tick, now_ns: int = 0) -> bool:
        """Take a message of a status topic if it is newer; ``False`` means it is a duplicate."""
        assert isinstance(tick.body, Status), "status topics carry Status bodies"
        where = (tick.topic.venue, tick.topic.symbol)
        position = (tick.epoch, tick.seq)
        known = self._status.get(where)
        if known is not None and position <= known[0]:
            return False
        body = tick.body
        view = FeedView(body.state, body.reason, body.since_ts_ns, body.detail)
        before = None if known is None else known[1]
        lost = lost_count(view.reason, view.detail)
        self._status[where] = (position, view)
        self._status_heard_ns[where[0]] = now_ns
        if lost and (before is None or before.detail != view.detail):
            self.on_loss(*where, lost)
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

    def heard_ns(self) -> dict[str, int]:
        """When anything of each feed was last heard here; feeds never heard are absent."""
        heard = {name: at_ns for name, at_ns in self._status_heard_ns.items() if at_ns}
        for line in self.lines.values():
            if line.heard_ns > heard.get(line.feed, 0):
                heard[line.feed] = line.heard_ns
        return heard


_WORST_FIRST = ("down", "closed", "connecting", "recovering", "stale", "live")


def market_of(settings: Settings) -> Market:
    """An empty market with the ages and bounds of the settings."""
    own = settings.bridge
    symbol_ttl_ns: dict[tuple[str, str, str], int] = {}
    for name, ttl_s in own.ttl_s.items():
        stream, _, symbol = name.partition(".")
        if (served := settings.resolve_alias(symbol)) is not None:
            symbol_ttl_ns[stream, *served] = int(ttl_s * NS_PER_SECOND)
    return Market(
        ttl_ns={
            stream: int(getattr(own, f"{stream}_ttl_s") * NS_PER_SECOND)
            for stream in MARKET_STREAMS
        },
        symbol_ttl_ns=symbol_ttl_ns,
        history=own.history,
        history_age_ns=int(own.history_age_s * NS_PER_SECOND),
        expire=own.expire,
    )
