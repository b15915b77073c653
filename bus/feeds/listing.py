"""Which of the wanted instruments a venue lists. Pure, and the same for every venue."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """What of the wanted symbols can be served; ``rejected``: symbol to a sentence saying why,
    ``nearest``: the same symbols to listed ones that look like them.
    """

    instruments: tuple[Listed, ...]
    rejected: Mapping[str, str]
    nearest: Mapping[str, Sequence[str]] = field(default_factory=dict)


def choose(wanted: Sequence[str], listed: Mapping[str, Listed]) -> Choice:
    """The wanted symbols that are listed, in order, without repeats; the others with a hint."""
    chosen: dict[str, Listed] = {}
    rejected: dict[str, str] = {}
    alike: dict[str, Sequence[str]] = {}
    for symbol in wanted:
        if symbol in listed:
            chosen[symbol] = listed[symbol]
        else:
            alike[symbol] = nearest(symbol, listed)
            hint = f"; nearest: {', '.join(alike[symbol])}" if alike[symbol] else ""
            rejected[symbol] = f"{unlisted(symbol)}{hint}"
    return Choice(tuple(chosen.values()), rejected, alike)


async def chosen(wanted: Sequence[str], listed: Mapping[str, Listed]) -> Choice:
    """As `choose`, and not on the loop when a name must be compared with thousands."""
    if all(symbol in listed for symbol in wanted):
        return choose(wanted, listed)
    return await asyncio.to_thread(choose, wanted, listed)


def unlisted(symbol: str) -> str:
    """The sentence for a symbol that the venue does not list."""
    return f"the venue lists no {symbol}"


def nearest(symbol: str, listed: Iterable[str]) -> list[str]:
    """At most three listed names that look like the symbol, the most like first."""
    return difflib.get_close_matches(symbol.upper(), list(listed), n=3, cutoff=0.6)
