"""Finding lost trades by their ids, where a venue counts them up by one. Pure; no clock.

What is missing is kept as ranges until it has come late, has been fetched, or is given up. Two
kinds of evidence: a trade whose id is ahead (certain at once), and the venue's own word for its
last trade id (a heartbeat): trades it names may still be on their way, so they are missing only
when the word after it finds them missing still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_RANGES: Final = 64
"""Ranges of missing ids remembered; beyond it the oldest is given up and counted as lost."""


class Arrival(Enum):
    """What a trade is to those before it."""

    NEW = "new"
    """The newest so far: publish it, it is the last price."""
    LATE = "late"
    """It was missing: publish it, but it is not the last price."""
    REPEAT = "repeat"
    """Seen before: drop it."""


NEW: Final = Arrival.NEW
"""At hand for every trade: a member of an enumeration is slow to look up."""


@dataclass(frozen=True, slots=True)
class TradeLosses:
    """Counters. ``gaps`` found; trades ``repaired`` (came late or were fetched), ``lost`` (given
    up), and ids that turned out to be no trades at all (``skipped``)."""

    gaps: int
    repaired: int
    lost: int
    skipped: int


def trade_figures(losses: Sequence[TradeLosses]) -> dict[str, int]:
    """The counters of several symbols together, as a heartbeat names them."""
    return {
        "trade_gaps": sum(each.gaps for each in losses),
        "trades_repaired": sum(each.repaired for each in losses),
        "trades_lost": sum(each.lost for each in losses),
        "trade_ids_skipped": sum(each.skipped for each in losses),
    }


class TradeSequence:
    """One symbol's ids. Survives reconnections: what was missed meanwhile is a gap like any.

    ``on_gap`` is called for each gap found.
    """

    __slots__ = (
        "_gaps",
        "_last_id",
        "_lost",
        "_missing",
        "_on_gap",
        "_repaired",
        "_skipped",
        "_told",
    )

    def __init__(self, on_gap: Callable[[], None] = lambda: None) -> None:
        self._on_gap = on_gap
        self._last_id: int | None = None
        self._told: int | None = None
        self._missing: list[tuple[int, int]] = []
        self._gaps = self._repaired = self._lost = self._skipped = 0

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """Ranges of ids not seen, first and last, oldest first."""
        return tuple(self._missing)

    @property
    def begun(self) -> bool:
        """Whether any id is known."""
        return self._last_id is not None

    @property
    def last_id(self) -> int | None:
        """The newest id known, None before the first."""
        return self._last_id

    @property
    def position(self) -> int:
        """How far the stream itself has come: ``last_id``, but for what was only heard of.

        0 before the first.
        """
        if self._missing and self._missing[-1][1] == self._last_id:
            return self._missing[-1][0] - 1
        return self._last_id or 0

    def lacks(self, trade_id: int) -> bool:
        """Whether this trade has not come: it is newer than all, or among the missing."""
        if self._last_id is None or trade_id > self._last_id:
            return True
        return any(low <= trade_id <= high for low, high in self._missing)

    def on_trade(self, trade_id: int) -> Arrival:
        """A trade of the stream, or one fetched."""
        last_id = self._last_id
        if last_id is None or trade_id == last_id + 1:
            self._last_id = trade_id
            return NEW
        if trade_id > last_id:
            self._miss(last_id + 1, trade_id - 1)
            self._last_id = trade_id
            return NEW
        return Arrival.LATE if self._found(trade_id) else Arrival.REPEAT

    def exists(self, trade_id: int) -> None:
        """The venue showed this trade as one of the past: all up to it should have come."""
        if self._last_id is None:
            self._last_id = trade_id
        elif trade_id > self._last_id:
            self._miss(self._last_id + 1, trade_id)
            self._last_id = trade_id

    def told(self, trade_id: int) -> None:
        """The venue's word for its last trade id: what it named the time before is due."""
        due, self._told = self._told, trade_id
        if due is not None:
            self.exists(due)

    def reconnected(self) -> None:
        """The word given on another connection is no evidence on this one."""
        self._told = None

    def begin_again(self, trade_id: int) -> None:
        """The venue counts afresh, from about here: what was missing is lost."""
        if self._missing:
            self.give_up(self._missing[0][0], self._missing[-1][1])
        self._last_id, self._told = trade_id, None

    def give_up(self, first_id: int, last_id: int) -> int:
        """These ids cannot be had: what of them was still missing is lost; how many."""
        gone = self._remove(first_id, last_id)
        self._lost += gone
        return gone

    def skip(self, first_id: int, last_id: int) -> int:
        """The venue has no such trades: nothing was lost; how many ids that were."""
        gone = self._remove(first_id, last_id)
        self._skipped += gone
        return gone

    def losses(self) -> TradeLosses:
        """The counters, as one frozen value."""
        return TradeLosses(self._gaps, self._repaired, self._lost, self._skipped)

    def _miss(self, first_id: int, last_id: int) -> None:
        self._gaps += 1
        if len(self._missing) >= MAX_RANGES:
            self.give_up(*self._missing[0])
        self._missing.append((first_id, last_id))
        self._on_gap()

    def _found(self, trade_id: int) -> bool:
        found = self._remove(trade_id, trade_id)
        self._repaired += found
        return bool(found)

    def _remove(self, first_id: int, last_id: int) -> int:
        """Take a range out of what is missing; how many ids that were."""
        kept: list[tuple[int, int]] = []
        removed = 0
        for low, high in self._missing:
            if high < first_id or low > last_id:
                kept.append((low, high))
                continue
            removed += min(high, last_id) - max(low, first_id) + 1
            if low < first_id:
                kept.append((low, first_id - 1))
            if high > last_id:
                kept.append((last_id + 1, high))
        self._missing = kept
        return removed
