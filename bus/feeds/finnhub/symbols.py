"""Which instruments the Finnhub feed serves. Pure.

A symbol in the settings is Finnhub's own: ``AAPL``, ``BINANCE:BTCUSDT``, ``OANDA:EUR_USD``. What
stands after a colon has no documented form, so it is never taken apart, and no list of all
symbols comes with a free key's budget: whether one exists shows when data comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.errors import TopicError
from bus.model.topic import Topic
from bus.wire.topic import check_topic


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol, here and there. ``stock``: it follows the calendar of its exchange."""

    symbol: str
    venue_symbol: str

    @property
    def stock(self) -> bool:
        """Forex and crypto symbols name their broker or exchange before a colon."""
        return ":" not in self.venue_symbol


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the wanted symbols can be served; ``rejected``: symbol to a sentence saying why."""

    instruments: tuple[Instrument, ...]
    rejected: Mapping[str, str]


def choose(wanted: Sequence[str], venue_label: str) -> Choice:
    """The wanted symbols that can be a topic's last part, in order, without repeats."""
    chosen: dict[str, Instrument] = {}
    rejected: dict[str, str] = {}
    for symbol in wanted:
        try:
            check_topic(Topic.md("trades", venue_label, symbol))
        except TopicError as error:
            rejected[symbol] = error.why
        else:
            chosen[symbol] = Instrument(symbol, symbol)
    return Choice(tuple(chosen.values()), rejected)
