"""What a feed says about itself: the state of each symbol and of the whole, published on change.

States: ``connecting`` (not there yet), ``live``, ``stale`` (connected, but a stream is silent),
``recovering`` (was live; the connection or the book is being restored), ``down`` (the venue is not
reached or refuses), ``closed`` (market shut, or the feed has left). Judging is pure; only
:class:`StatusBoard` calls out, to the function it was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from bus.model import Status
from bus.model.tick import FeedState

DOWN_AFTER_ATTEMPTS: Final = 3
"""Failed attempts to connect, in a row, after which a feed is called down."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state with its reason (one word) and detail (prose, may be empty)."""

    state: FeedState
    reason: str
    detail: str = ""


@dataclass(slots=True)
class ConnectionFacts:
    """What is known of one connection.

    ``open`` now; ``was_live``: has ever brought data; ``failures``: attempts failed in a row;
    ``reason`` and ``detail`` of the last loss; ``fatal``: refused in a way that retrying soon
    does not cure (a bad key). ``late``: its events come too late (a sentence; "" = they do not).
    """

    open: bool = False
    was_live: bool = False
    failures: int = 0
    reason: str = "starting"
    detail: str = ""
    fatal: bool = False
    late: str = ""

    def judge(self) -> Verdict | None:
        """Why its symbols cannot be live; None while it is open."""
        if self.open:
            return None
        if self.fatal or self.failures > DOWN_AFTER_ATTEMPTS:
            return Verdict("down", self.reason, self.detail)
        state: FeedState = "recovering" if self.was_live else "connecting"
        return Verdict(state, self.reason, self.detail)


@dataclass(slots=True)
class SymbolFacts:
    """What is known of one symbol.

    ``rejected``: the venue does not serve it (a sentence), ``reject_reason`` why, in one word.
    ``has_data``: any of its streams has
    brought data since the connection opened. ``book_lost``: why its book is not in step with the
    venue ("" = it is, or it has none). ``was_live``: has been live before, so that getting there
    is recovering. ``stale``: its silent streams. ``market_closed``: silence is expected.
    """

    rejected: str = ""
    reject_reason: str = "unknown_symbol"
    has_data: bool = False
    book_lost: str = ""
    was_live: bool = False
    stale: tuple[str, ...] = ()
    market_closed: bool = False


def judge_symbol(connection: ConnectionFacts, facts: SymbolFacts) -> Verdict:
    """The first that holds: refused, connection, silence, lateness, no data yet, book, live."""
    if facts.rejected:
        return Verdict("down", facts.reject_reason, facts.rejected)
    lost = connection.judge()
    if lost is not None:
        return lost
    if facts.market_closed and (facts.stale or not facts.has_data):
        return Verdict("closed", "market_closed", "the market is closed, by the venue's calendar")
    if facts.stale:
        names = ", ".join(facts.stale)
        return Verdict("stale", "silent", f"no data of: {names}")
    if connection.late:
        return Verdict("stale", "late", connection.late)
    state: FeedState = "recovering" if facts.was_live else "connecting"
    if not facts.has_data:
        return Verdict(state, "subscribing", "connected, waiting for the first data")
    if facts.book_lost:
        return Verdict(state, facts.book_lost, "the order book is being rebuilt")
    return Verdict("live", "data", "")


def judge_feed(connections: Iterable[ConnectionFacts], symbols: Iterable[Verdict]) -> Verdict:
    """The state of the whole: the worst connection if one is not open, else its symbols'.

    Live means that at least one symbol is live; ``detail`` says how many of them.
    """
    order: list[FeedState] = ["down", "recovering", "connecting"]
    lost = [verdict for facts in connections if (verdict := facts.judge()) is not None]
    if lost:
        return min(lost, key=lambda verdict: order.index(verdict.state))
    states = Counter(verdict.state for verdict in symbols)
    total = sum(states.values())
    if not total:
        return Verdict("live", "data", "no symbols")
    detail = ", ".join(f"{count} {state}" for state, count in states.most_common())
    for state in ("live", "closed", "recovering", "connecting", "stale", "down"):
        if states[state]:
            return Verdict(state, "data" if state == "live" else "symbols", detail)
    raise AssertionError(f"no state among {states}")


class Patience:
    """How long a feed may bring nothing before its process gives itself up; s of any clock.

    For processes that somebody starts again: a fresh one may do what this one cannot. Nothing is
    given up for what a restart does not cure: a bad key, a location the venue refuses, symbols that
    it does not list.
    """

    __slots__ = ("_limit_s", "_well_s")

    def __init__(self, limit_s: float, now_s: float) -> None:
        self._limit_s = limit_s
        self._well_s = now_s

    def is_over(self, verdict: Verdict, now_s: float) -> bool:
        """Call with each verdict on the feed."""
        incurable = verdict.reason in ("unauthorized", "restricted") or (
            verdict.state,
            verdict.reason,
        ) == ("down", "symbols")
        if verdict.state in ("live", "closed") or incurable or not self._limit_s:
            self._well_s = now_s
        return now_s - self._well_s > self._limit_s > 0


class StatusBoard:
    """Remembers what was said and says what is new.

    ``publish(symbol, status)`` is called once per change of state, reason or detail; symbol "" is
    the whole feed. ``since_ts_ns`` of a status is when its *state* began: a new reason for the
    same state keeps it.
    """

    __slots__ = ("_publish", "_said")

    def __init__(self, publish: Callable[[str, Status], None]) -> None:
        self._publish = publish
        self._said: dict[str, Status] = {}

    def say(self, symbol: str, verdict: Verdict, now_ns: int) -> bool:
        """Publish the verdict if it is news; whether state or reason changed.

        ``now_ns``: wall clock.
        """
        last = self._said.get(symbol)
        since_ns = last.since_ts_ns if last and last.state == verdict.state else now_ns
        status = Status(verdict.state, verdict.reason, since_ns, verdict.detail or None)
        if status == last:
            return False
        self._said[symbol] = status
        self._publish(symbol, status)
        return last is None or (last.state, last.reason) != (verdict.state, verdict.reason)

    def symbols(self) -> list[str]:
        """Whatever something was said about, in that order; "" is the whole feed."""
        return list(self._said)

    def state(self, symbol: str = "") -> FeedState | None:
        """The last state said."""
        status = self._said.get(symbol)
        return status.state if status else None

    def reason(self, symbol: str = "") -> str:
        """The reason of the last state said, one word; empty before."""
        status = self._said.get(symbol)
        return status.reason if status else ""
