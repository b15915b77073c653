"""What one address may ask of one venue's REST interface: a ledger that many processes share. Pure.

Wall-clock seconds in (the only clock that processes and reboots have in common), waits out. A
ledger is a value that fits into a small file: whoever holds the file's lock decodes it, asks,
and writes it back. Nothing in it needs its owner to be alive: each entry has a time at which it
ends, so a process that was killed holds nobody up for longer than that.

The venue's own count (a header such as ``x-mbx-used-weight-1m``) is the truth, plus what is under
way and not counted in it yet: others may share our address. 429 stops every call for
``Retry-After``; 418, a ban, likewise, for all processes. Who waits is ranked by ``priority``, then
by who came first.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from bus.feeds.rate_limit import BANNED, UNLIMITED, WeightStats

WINDOW_S: Final = 60.0
GRANT_S: Final = 30.0
"""A call counts as under way for so long if its end is never told."""
WAITER_S: Final = 2.0
"""Who waits and does not ask again within this time is taken to be gone."""
LOOK_AGAIN_S: Final = 0.1
"""How soon to ask again when it is someone else's turn."""
MAX_UNDER_WAY: Final = 8
"""Calls under way at one time, of all processes."""
MAX_ENTRIES: Final = 256
"""Grants, and waiters, kept; beyond it the oldest is forgotten."""
LONGEST_BLOCK_S: Final = 3 * 86_400.0
"""The longest ban documented; a block that ends later than this was written by a wrong clock."""


class Priority(IntEnum):
    """What a call is for; the lower goes first."""

    RESYNC = 0
    """A book that was live is out of step: somebody may be trading on it."""
    START = 1
    """A first book, or the list of instruments."""
    REFRESH = 2
    """A book that is in step wants a newer snapshot."""
    TRADES = 3
    """Trades were missed: the venue does not tell them for ever, but no book is wrong."""
    DEEPEN = 4
    """A book that began with few levels wants the rest."""


class _Grant(msgspec.Struct, array_like=True):
    who: str
    weight: int
    until_s: float


class _Waiter(msgspec.Struct, array_like=True):
    who: str
    priority: int
    since_s: float
    until_s: float


class WeightLedger(msgspec.Struct):
    """The state. ``limit`` of every question is the budget the asker allows itself; 0 = none."""

    version: int = 1
    window_end_s: float = 0.0
    spent: int = 0
    told: int = 0
    blocked_until_s: float = 0.0
    banned: bool = False
    refusals: int = 0
    grants: list[_Grant] = []
    waiters: list[_Waiter] = []

    def ask(self, who: str, weight: int, priority: int, limit: int, now_s: float) -> float:
        """May ``who`` make a call of this weight? 0: it is granted. Else ask again in so many s.

        Whoever asked and was put off keeps its place by asking again within 2 s.
        """
        self._tidy(now_s)
        mine = next((one for one in self.waiters if one.who == who), None)
        since_s = mine.since_s if mine else now_s
        wait_s = self._wait_s(who, weight, (priority, since_s), limit, now_s)
        self.waiters = [one for one in self.waiters if one.who != who]
        if wait_s > 0:
            self.waiters.append(_Waiter(who, priority, since_s, now_s + WAITER_S))
            del self.waiters[:-MAX_ENTRIES]
            return wait_s
        self.spent += weight
        self.grants.append(_Grant(who, weight, now_s + GRANT_S))
        del self.grants[:-MAX_ENTRIES]
        return 0.0

    def withdraw(self, who: str) -> None:
        """``who`` waits no longer."""
        self.waiters = [one for one in self.waiters if one.who != who]

    def answered(self, who: str, told: int | None, now_s: float) -> None:
        """The call is over; the venue told (or did not tell) the weight used this minute."""
        self._tidy(now_s)
        self.grants = [one for one in self.grants if one.who != who]
        if told is not None:
            self.told = told
            self.spent = 0 if told < self.spent else self.spent

    def refused(self, status: int, retry_after_s: float | None, now_s: float) -> float:
        """The venue answered 429 or 418; returns the seconds for which nothing may be sent."""
        self.refusals += 1
        banned = status == BANNED
        default_s = 120.0 if banned else 60.0  # first ban lasts 2 min; a limit, a minute
        wait_s = default_s if retry_after_s is None else max(retry_after_s, 0.0)
        if now_s + wait_s >= self.blocked_until_s:
            self.blocked_until_s, self.banned = now_s + wait_s, banned
        return self.blocked_until_s - now_s

    def used(self, now_s: float) -> int:
        """Weight used this minute, as far as is known, with what is under way."""
        self._tidy(now_s)
        under_way = sum(one.weight for one in self.grants)
        return max(self.spent, self.told + under_way)

    def stats(self, limit: int, now_s: float) -> WeightStats:
        """The budget as one frozen value."""
        blocked_s = max(0.0, self.blocked_until_s - now_s)
        banned = self.banned and blocked_s > 0
        return WeightStats(self.used(now_s), limit, self.refusals, blocked_s, banned)

    def _wait_s(
        self, who: str, weight: int, rank: tuple[int, float], limit: int, now_s: float
    ) -> float:
        if self.blocked_until_s > now_s:
            return self.blocked_until_s - now_s
        if any((one.priority, one.since_s) < rank for one in self.waiters if one.who != who):
            return LOOK_AGAIN_S
        if len(self.grants) >= MAX_UNDER_WAY:
            return LOOK_AGAIN_S
        used = self.used(now_s)
        if limit == UNLIMITED or used + weight <= limit or used == 0:
            return 0.0
        return max(LOOK_AGAIN_S, self.window_end_s - now_s)

    def _tidy(self, now_s: float) -> None:
        """Forget what has ended, and what a clock that was wrong has written."""
        self.grants = [one for one in self.grants if now_s < one.until_s <= now_s + GRANT_S]
        self.waiters = [one for one in self.waiters if now_s < one.until_s <= now_s + WAITER_S]
        if self.blocked_until_s > now_s + LONGEST_BLOCK_S:
            self.blocked_until_s = 0.0
        if not now_s < self.window_end_s <= now_s + WINDOW_S:
            self.window_end_s = now_s + WINDOW_S
            self.spent = self.told = 0


class AttemptLedger(msgspec.Struct):
    """Attempts to connect from one address: at most so many in any ``window_s`` seconds."""

    version: int = 1
    taken_s: list[float] = []
    blocked_until_s: float = 0.0

    def take(self, limit: int, window_s: float, now_s: float) -> float:
        """0: an attempt may be made now, and is counted. Else ask again in so many seconds."""
        self.taken_s = [at for at in self.taken_s if now_s - window_s < at <= now_s]
        if now_s < self.blocked_until_s <= now_s + LONGEST_BLOCK_S:
            return self.blocked_until_s - now_s
        if len(self.taken_s) >= limit:
            return max(LOOK_AGAIN_S, self.taken_s[0] + window_s - now_s)
        self.taken_s.append(now_s)
        return 0.0

    def refused(self, retry_after_s: float, now_s: float) -> None:
        """The venue refuses connections from this address for so long."""
        self.blocked_until_s = max(self.blocked_until_s, now_s + retry_after_s)
