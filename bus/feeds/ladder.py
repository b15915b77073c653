"""What to do about silence and lateness, step by step, the same for every venue. Pure; ns in.

The ladder. A stream that says nothing for longer than its limit is **stale**, at once and by name.
Then it is **asked for again**: a connection may have lost a subscription quietly. Streams that fall
silent one shortly after the other are asked for together. What is known to speak regularly, and
stays silent after that, has a **new connection** opened beside this one, since the rest of it may
be well; a connection on which everything is silent, or no byte comes, is **given up**. So is
nobody's patience endless: a feed that brings nothing at all for long ends its process
(:class:`~bus.feeds.status.Patience`). Events that come late climb the same ladder, without asking
again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.feeds.skew import Lateness
from bus.feeds.watchdog import Watchdog

ASK_AGAIN_NS: Final = 60_000_000_000
"""A stream that stays silent is subscribed to afresh at most this often."""
ASK_TOGETHER_NS: Final = 2_000_000_000
"""So long a silent stream waits for others, to be asked for in the same message: venues limit how
many messages they take in a second, and silence seldom comes alone."""
REPLACE_EVERY_NS: Final = 600_000_000_000
"""A connection is replaced for a silent or a late stream at most this often."""


@dataclass(frozen=True, slots=True)
class StreamLimit:
    """How long streams of one kind may be silent.

    ``stale_after_s`` until a stream's own rhythm is known (0: for ever); ``floor_s``: a learned
    limit is never below it (0: learn nothing). ``regular``: the venue promises to speak, so that
    silence proves something before a rhythm has been learned.
    """

    stale_after_s: float
    floor_s: float = 0.0
    regular: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """What one look at the clock asks for.

    ``abort``: give the connection up, for this reason ("" = keep it). ``rotate``: open a new one
    beside it. ``ask_again``: streams to be subscribed to afresh. ``went_stale``: how many fell
    silent; ``changed``: whether any did, or came back. ``late_now``: events have begun to be late;
    ``hopeless``: streams that asking again did not help.
    """

    abort: str = ""
    rotate: bool = False
    ask_again: tuple[str, ...] = ()
    went_stale: int = 0
    changed: bool = False
    late_now: bool = False
    hopeless: tuple[str, ...] = ()


class Ladder:
    """Watches one connection and its streams; ``lateness`` is told the delays of its events.

    ``seen`` is the watchdog's: the handler writes the time of each stream's data into it.
    """

    def __init__(
        self, limits: Mapping[str, StreamLimit], silent_connection_s: float, lateness: Lateness
    ) -> None:
        self._limits = limits
        self._watchdog = Watchdog(silent_connection_s)
        self._opened_ns = 0
        self._asked_ns: dict[str, int] = {}
        self._due_since_ns: int | None = None
        self._regular: set[str] = set()
        self._replace_due_ns = 0
        self.lateness = lateness
        self.seen = self._watchdog.seen

    def watch(self, stream: str, kind: str, now_ns: int) -> None:
        """Expect data of ``stream`` from now on."""
        limit = self._limits[kind]
        self._watchdog.watch(stream, limit.stale_after_s, now_ns, floor_s=limit.floor_s)
        self._asked_ns.pop(stream, None)
        if limit.regular:
            self._regular.add(stream)

    def unwatch(self, stream: str) -> None:
        """Expect nothing of ``stream`` any more."""
        self._watchdog.unwatch(stream)
        self._asked_ns.pop(stream, None)
        self._regular.discard(stream)

    def opened(self, now_ns: int) -> None:
        """A connection that replaces none: silence counts from now."""
        self._opened_ns = now_ns
        self._asked_ns.clear()
        self._due_since_ns = None
        self._watchdog.restart(now_ns)

    def is_stale(self, stream: str) -> bool:
        """Whether the last check found the stream silent."""
        return self._watchdog.is_stale(stream)

    def has_spoken(self, stream: str) -> bool:
        """Whether data of the stream came since it is watched, on this connection."""
        return self._watchdog.has_spoken(stream)

    def limit_s(self, stream: str) -> float:
        """How long the stream may be silent now, 0 = for ever."""
        return self._watchdog.limit_s(stream)

    def check(
        self, now_ns: int, wall_ns: int, last_frame_ns: int, excused: Container[str] = ()
    ) -> Steps:
        """Call a few times a second. Nothing is asked for on account of ``excused`` streams."""
        findings = self._watchdog.check(now_ns, last_frame_ns)
        changed = bool(findings.went_stale or findings.recovered)
        went_stale = len(findings.went_stale)
        was_late = self.lateness.is_late
        late_now = self.lateness.look(now_ns, wall_ns) and not was_late
        if findings.silent:
            return Steps("silent", went_stale=went_stale, changed=changed, late_now=late_now)
        stale = [
            name for name in self.seen if self._watchdog.is_stale(name) and name not in excused
        ]
        expected = [name for name in self.seen if name not in excused] if stale else []
        due = [name for name in stale if self._ask_due(name, now_ns)]
        opened_long_ago = now_ns - self._opened_ns > ASK_AGAIN_NS
        nothing_left = len(stale) == len(expected)
        if due and nothing_left and opened_long_ago:
            self._asked_ns.update(dict.fromkeys(due, now_ns))
            return Steps("silent_streams", False, (), went_stale, changed, late_now)
        if not self._is_time(due, nothing_left, now_ns):
            due = []
        hopeless = tuple(
            name
            for name in due
            if name in self._asked_ns
            and self.seen[name] < self._asked_ns[name]
            and (name in self._regular or self._watchdog.is_learned(name))
        )
        self._asked_ns.update(dict.fromkeys(due, now_ns))
        rotate = bool(hopeless or late_now) and now_ns >= self._replace_due_ns
        if rotate:
            self._replace_due_ns = now_ns + REPLACE_EVERY_NS
        return Steps("", rotate, tuple(due), went_stale, changed, late_now, hopeless)

    def _is_time(self, due: Sequence[str], nothing_left: bool, now_ns: int) -> bool:
        """Whether to ask now, or to wait for other streams that may be falling silent, too."""
        if not due:
            self._due_since_ns = None
            return False
        if self._due_since_ns is None:
            self._due_since_ns = now_ns
        if not nothing_left and now_ns - self._due_since_ns < ASK_TOGETHER_NS:
            return False
        self._due_since_ns = None
        return True

    def _ask_due(self, stream: str, now_ns: int) -> bool:
        asked_ns = self._asked_ns.get(stream)
        return asked_ns is None or now_ns - asked_ns >= ASK_AGAIN_NS
