"""What a connection remembers of one pair beside its feed. No socket, no loop."""

from __future__ import annotations

from typing import Final

from bus.feeds.backoff import Backoff
from bus.feeds.kraken.instrument_feed import InstrumentFeed
from bus.feeds.link import Link
from bus.feeds.pace import Pace
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

LATE_TRADES_NS: Final = 2_000_000_000
"""Trades missing for so long do not come any more; the venue offers no way to have them."""
LOSS_SHOWN_NS: Final = 60_000_000_000
"""A loss stands in the pair's status for so long."""


class PairState:
    """``link``: the connection whose book and ticker count; ``pace``: of new subscriptions."""

    __slots__ = ("_loss", "_loss_ns", "_missing_ns", "feed", "link", "pace", "silent_due_ns")

    def __init__(self, feed: InstrumentFeed, backoff: Backoff) -> None:
        self.feed = feed
        self.pace = Pace(backoff)
        self.link: Link | None = None
        self.silent_due_ns = 0
        self._loss = ""
        self._loss_ns = 0
        self._missing_ns = 0

    @property
    def served(self) -> bool:
        """Whether the venue has described the pair."""
        return not self.feed.facts.rejected and self.feed.instrument.price_decimals is not None

    def look_for_trades(self, now_mono_ns: int) -> None:
        """Call regularly: trades that have been missing for a while are lost."""
        missing = self.feed.trades.missing
        if not missing:
            self._missing_ns = 0
        elif not self._missing_ns:
            self._missing_ns = now_mono_ns
        elif now_mono_ns - self._missing_ns >= LATE_TRADES_NS:
            first_id, last_id = missing[0][0], missing[-1][1]
            count = self.feed.trades.give_up(first_id, last_id)
            self._missing_ns = 0
            self._loss = f"{count} trades lost, ids {first_id} to {last_id}"
            self._loss_ns = now_mono_ns
            _log.error("trades lost", symbol=self.feed.instrument.symbol, detail=self._loss)

    def lost_lately(self, now_mono_ns: int) -> str:
        """What was lost within the last minute, or ""."""
        return self._loss if now_mono_ns - self._loss_ns < LOSS_SHOWN_NS else ""
