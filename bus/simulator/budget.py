"""REST budgets of the simulated venues: so much in a minute, then refusal, then a ban.

Pure. Fixed windows of one minute, as the venue's ``X-MBX-USED-WEIGHT-1M`` counts them. A caller
who goes on after refusals is banned, longer each time (binance-spot-api-docs: rest-api.md, "IP
Limits": from two minutes up to three days).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MINUTE_NS = 60_000_000_000
SECOND_NS = 1_000_000_000
TOLERATED_REFUSALS = 10
FIRST_BAN_S = 120
LONGEST_BAN_S = 3 * 86_400
MAX_CALLERS = 1_024
"""Callers remembered at once; the one that has been quiet longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``status`` is 200, 429 or 418; ``used`` what the caller has used of this minute."""

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ns: int = 0


@dataclass(slots=True)
class _Account:
    minute: int = 0
    used: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until_ns: int = 0


class Budget:
    """``limit`` units a minute for each caller; ``bans`` turns the third step (418) on."""

    def __init__(self, limit: int, *, bans: bool) -> None:
        self._limit = limit
        self._bans = bans
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def charge(self, caller: str, weight: int, now_ns: int) -> Verdict:
        """Count one request of ``caller`` and judge it."""
        account = self._accounts.setdefault(caller, _Account())
        self._accounts.move_to_end(caller)
        if len(self._accounts) > MAX_CALLERS:
            self._accounts.popitem(last=False)
        minute = now_ns // MINUTE_NS
        if account.minute != minute:
            account.minute, account.used, account.refusals = minute, 0, 0
        if now_ns < account.banned_until_ns:
            return self._banned(account, now_ns)
        account.used += weight
        if account.used <= self._limit:
            return Verdict(200, account.used)
        account.refusals += 1
        if self._bans and account.refusals > TOLERATED_REFUSALS:
            ban_s = min(LONGEST_BAN_S, FIRST_BAN_S * 2**account.bans)
            account.bans += 1
            account.refusals = 0
            account.banned_until_ns = now_ns + ban_s * SECOND_NS
            return self._banned(account, now_ns)
        left_ns = (minute + 1) * MINUTE_NS - now_ns
        return Verdict(429, account.used, -(-left_ns // SECOND_NS))

    @staticmethod
    def _banned(account: _Account, now_ns: int) -> Verdict:
        left_ns = account.banned_until_ns - now_ns
        return Verdict(418, account.used, -(-left_ns // SECOND_NS), account.banned_until_ns)
