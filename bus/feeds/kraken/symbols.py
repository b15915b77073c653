"""Which pairs Kraken lists, and with how many decimals. Pure.

The ``instrument`` channel tells; ``BTC-USD`` is ``BTC/USD`` there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bus.feeds.kraken.parser import Pair
from bus.feeds.listing import Listed
from bus.model import Instrument

ONLINE: Final = "online"


def guess(symbol: str) -> Listed:
    """The instrument of a normal symbol, as long as the venue has not told."""
    return Listed(symbol, symbol.replace("-", "/"))


def listed(pairs: Iterable[Pair]) -> dict[str, Listed]:
    """Pairs by normal symbol."""
    found = {}
    for pair in pairs:
        symbol = pair.symbol.replace("/", "-")
        found[symbol] = Listed(
            symbol,
            pair.symbol,
            pair.status == ONLINE,
            pair.price_precision,
            pair.qty_precision,
            _described(pair),
        )
    return found


def _described(pair: Pair) -> Instrument:
    return Instrument(
        base=pair.base,
        quote=pair.quote,
        kind="spot",
        status="trading" if pair.status == ONLINE else pair.status,
        venue_symbol=pair.symbol,
        tick_size=pair.price_increment,
        lot_size=pair.qty_increment,
        min_size=pair.qty_min,
        min_notional=pair.cost_min,
    )
