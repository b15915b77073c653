"""One generation of a supervised process: what was started once, and what it said of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bus.supervision.spawn import Child


@dataclass(frozen=True, slots=True)
class Sender:
    """Which spawn of which process a message is from, or to; spawns of a name count from 1."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class LastExit:
    """How a process last ended: its exit code (None when a signal ended it), the signal's name,
    the line it said itself, what the supervisor had done to it, and the wall time in ns.

    ``log_tail`` are the last lines of its log, when it ended badly.
    """

    code: int | None
    signal: str | None
    line: str
    cause: str
    at_ns: int
    log_tail: tuple[str, ...] = ()

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> LastExit:
        """From what :func:`dataclasses.asdict` made of one."""
        return cls(**{**facts, "log_tail": tuple(facts["log_tail"])})

    def in_words(self) -> str:
        """One sentence for a table or a log."""
        how = f"signal {self.signal}" if self.signal else f"code {self.code}"
        why = self.line or (self.cause if self.cause not in ("", "exited") else "")
        if not why and self.code and self.log_tail:  # it could not say why itself
            why = f"its log ends: {self.log_tail[-1].strip()}"
        return f"{how} ({why})" if why else how


@dataclass(slots=True)
class Vitals:
    """What a generation last said of itself. ``rates`` are its counters' growth in one second,
    between the last two heartbeats that were read; ``beat_at`` is when it last had one,
    ``counted_at`` that of the counters, ``moved_at`` when it last reported more messages in than
    before (monotonic s).
    """

    endpoints: Mapping[str, str] = field(default_factory=dict)
    verbs: tuple[str, ...] = ()
    counters: Mapping[str, int | float | str] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    beat_at: float | None = None
    counted_at: float | None = None
    moved_at: float | None = None
    beats: int = 0
    loop_lag_ms: float = 0.0
    farewell: str = ""
    drains: bool = False

    def take_beat(
        self, number: int, loop_lag_ms: float, counters: Mapping[str, int | float | str], now: float
    ) -> None:
        """What a heartbeat says that was at monotonic second ``now``."""
        if self.counted_at is not None and now > self.counted_at:
            self.rates = {
                key: max(0.0, rate)
                for key in _RATED
                if isinstance(value := counters.get(key), (int, float))
                and isinstance(before := self.counters.get(key), (int, float))
                and math.isfinite(rate := (value - before) / (now - self.counted_at))
            }
        if counters.get("messages_in", 0) != self.counters.get("messages_in", 0):
            self.moved_at = now
        self.beat_at = self.counted_at = now
        self.beats, self.loop_lag_ms = number, loop_lag_ms
        self.counters = counters


_RATED = ("messages_in", "messages_out")


@dataclass(slots=True)
class Generation:
    """One spawn: its number, when it was started (monotonic s), its process."""

    name: str
    number: int
    started_at: float
    child: Child | None = None
    vitals: Vitals = field(default_factory=Vitals)
    ready: bool = False
    last_exit: LastExit | None = None

    @property
    def sender(self) -> Sender:
        """How it is addressed on the link."""
        return Sender(self.name, self.number)

    def to_facts(self) -> dict[str, Any]:
        """What `of_facts` makes it of again, with its pid, as JSON holds it."""
        return {
            "number": self.number,
            "started_at": self.started_at,
            "ready": self.ready,
            "pid": None if self.child is None else self.child.pid,
            "endpoints": dict(self.vitals.endpoints),
            "verbs": list(self.vitals.verbs),
        }

    @classmethod
    def of_facts(cls, name: str, facts: Mapping[str, Any]) -> Generation:
        """The generation without its process, which the caller is to find."""
        vitals = Vitals(endpoints=facts["endpoints"], verbs=tuple(facts["verbs"]))
        return cls(
            name,
            facts["number"],
            facts["started_at"],
            vitals=vitals,
            ready=facts["ready"],
        )

    def is_sender(self, sender: Sender) -> bool:
        """Whether ``sender`` is this very spawn, and it still runs."""
        return self.child is not None and sender == self.sender
