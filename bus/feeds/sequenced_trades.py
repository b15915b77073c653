"""Trades of one symbol whose venue counts their ids up by one: told apart, published, missed.

Each trade is published once. One that was missing and comes late, or is fetched, is published on
`trades` with its own time, after newer ones, and never on `price`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from bus.feeds.feed import Feed
from bus.feeds.handler import SymbolTicks
from bus.feeds.trade_sequence import NEW, Arrival, TradeLosses, TradeSequence
from bus.model import Trade
from bus.model.tick import Side
from bus.model.topic import Topic
from bus.model.trade_loss import loss_text

LOSS_SHOWN_NS: Final = 60_000_000_000
"""A loss stands in the symbol's status for so long."""


COUNTED_AFRESH_NS: Final = 1_000_000_000
"""A trade so much later than all told, yet with an id before theirs: the venue has begun to count
anew. (Nobody else's clock is asked, and the venue's own does not step back so far.)"""
OLD_NEWS_NS: Final = 60_000_000_000
"""A trade so much older than the newest is no repeat of a connection that lags behind: a recording
has begun again."""


class Fill(NamedTuple):
    """One trade as a venue tells it; time in ns since 1970."""

    trade_id: int
    price: float
    size: float
    aggressor_side: Side | None
    venue_ts_ns: int


class SequencedTrades:
    """Publishes through ``ticks``; ``sequence`` knows what is missing; ``gap`` is set when it finds
    something to be, for whoever fetches it. The writer of `trades` is shared with ``ticks``.
    """

    def __init__(self, feed: Feed, symbol: str, ticks: SymbolTicks) -> None:
        self._counters = feed.counters
        self._ticks = ticks
        self._late = feed.publisher.writer(Topic.md("trades", feed.venue_label, symbol))
        self._loss = ""
        self._loss_ns = 0
        self._newest_ns = 0
        self.gap = asyncio.Event()
        self.sequence = TradeSequence(self.gap.set)

    def publish(
        self,
        trade_id: int,
        price: float,
        size: float,
        side: Side | None,
        venue_ts_ns: int,
        recv_ns: int,
    ) -> bool:
        """`trades`, and `price` if it is the newest; False for a repeat, which is counted."""
        arrival = self.sequence.on_trade(trade_id)
        if arrival is not NEW and arrival is Arrival.REPEAT and self._is_afresh(venue_ts_ns):
            self.sequence.begin_again(trade_id)
            arrival = NEW
        if arrival is NEW:
            self._newest_ns = venue_ts_ns
            self._ticks.trade(price, size, side, trade_id, venue_ts_ns, recv_ns)
        elif arrival is Arrival.LATE:
            self._newest_ns = max(self._newest_ns, venue_ts_ns)
            self._late.publish(
                Trade(price, size, side, trade_id), venue_ts_ns=venue_ts_ns, recv_ts_ns=recv_ns
            )
        else:
            self._counters.duplicates += 1
            return False
        return True

    def publish_missing(self, fills: Sequence[Fill], recv_ns: int) -> int:
        """Trades fetched because some were missing; those that still are, are told. How many."""
        told = 0
        last_id = self.sequence.last_id or 0
        for fill in fills:
            if fill.trade_id <= last_id and self.sequence.lacks(fill.trade_id):
                told += self.publish(*fill, recv_ns)
        return told

    def publish_past(self, fills: Sequence[Fill], recv_ns: int) -> int:
        """The venue's list of its last trades, in any order; how many of them had been missed.

        At the very beginning they are of the past and only tell where the ids stand. An id that the
        list leaves out between others is no trade.
        """
        if not fills:
            return 0
        ordered = sorted(fills)
        first_id, last_id = ordered[0].trade_id, ordered[-1].trade_id
        if not self.sequence.begun:
            self.sequence.exists(last_id)
            return 0
        missed = 0
        for fill in ordered:
            if self.sequence.lacks(fill.trade_id):
                missed += self.publish(*fill, recv_ns)
        self.sequence.skip(first_id, last_id)
        return missed

    def give_up(self, first_id: int, last_id: int, why: str, now_mono_ns: int) -> str:
        """These cannot be had: what of them is lost goes into the status; the words, or ""."""
        lost = [
            (max(low, first_id), min(high, last_id))
            for low, high in self.sequence.missing
            if low <= last_id and high >= first_id
        ]
        if not lost:
            return ""
        gone = self.sequence.give_up(first_id, last_id)
        self._loss = loss_text(gone, lost[0][0], lost[-1][1], why)
        self._loss_ns = now_mono_ns
        return self._loss

    def lost_lately(self, now_mono_ns: int) -> str:
        """What was lost within the last minute, or ""."""
        return self._loss if now_mono_ns - self._loss_ns < LOSS_SHOWN_NS else ""

    def _is_afresh(self, venue_ts_ns: int) -> bool:
        """Whether a trade, by its id a repeat, is none by its time."""
        ahead_ns = venue_ts_ns - self._newest_ns
        return self._newest_ns > 0 and not -OLD_NEWS_NS <= ahead_ns <= COUNTED_AFRESH_NS

    def losses(self) -> TradeLosses:
        """The counters of the sequence."""
        return self.sequence.losses()
