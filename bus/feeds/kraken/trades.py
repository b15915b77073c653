"""When to ask for missing trades of a Kraken pair, and when to give them up. Pure; monotonic ns in.

The trade channel begins with the last 50 trades, so subscribing afresh brings back what was missed,
up to that many. There is no other way to have them here: a longer hole is a loss.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from bus.feeds.backoff import Backoff
from bus.feeds.pace import Pace

WAIT_NS: Final = 5_000_000_000
"""Trades missing for so long, though asked for, do not come any more."""
WHY: Final = "the venue tells its last 50 trades only"


class Step(Enum):
    """What is to be done about missing trades."""

    NOTHING = "nothing"
    ASK = "ask"
    GIVE_UP = "give_up"


class TradeWatch:
    """Of one pair; call a few times a second."""

    __slots__ = ("_asked", "_pace", "_since_ns")

    def __init__(self, backoff: Backoff) -> None:
        self._pace = Pace(backoff)
        self._since_ns: int | None = None
        self._asked = False

    def look(self, missing: bool, now_mono_ns: int, jitter: float) -> Step:
        """``missing``: whether any trade is. ``jitter`` in [0, 1] spreads what is asked again."""
        if not missing:
            self._since_ns, self._asked = None, False
            return Step.NOTHING
        if self._since_ns is None:
            self._since_ns = now_mono_ns
        if not self._asked and self._pace.may_ask(now_mono_ns, jitter):
            self._asked = True
            self._since_ns = now_mono_ns
            return Step.ASK
        if self._asked and now_mono_ns - self._since_ns >= WAIT_NS:
            self._since_ns, self._asked = None, False
            return Step.GIVE_UP
        return Step.NOTHING
