"""Which of the wanted instruments a venue lists. Pure, and the same for every venue."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.model import Instrument


@dataclass(frozen=True, slots=True)
class Listed:
    """One instrument: ``BTC-USD`` here, the venue's own name there.

    ``trading``: whether its market is open by the venue's word; decimals of prices and sizes
    where the venue tells them, else None; ``described``: all of it, as it is published.
    """

    symbol: str
    venue_symbol: str
    trading: bool = True
    price_decimals: int | None = None
    size_decimals: int | None = None
    described: Instrument | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the wanted symbols can be served; ``rejected``: symbol to a sentence saying why."""

    instruments: tuple[Listed, ...]
    rejected: Mapping[str, str]


def choose(wanted: Sequence[str], listed: Mapping[str, Listed]) -> Choice:
    """The wanted symbols that are listed, in order, without repeats; the others with a hint."""
    chosen: dict[str, Listed] = {}
    rejected: dict[str, str] = {}
    for symbol in wanted:
        if symbol in listed:
            chosen[symbol] = listed[symbol]
        else:
            near = difflib.get_close_matches(symbol.upper(), listed, n=3, cutoff=0.6)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            rejected[symbol] = f"the venue lists no {symbol}{hint}"
    return Choice(tuple(chosen.values()), rejected)
