"""Which symbols Finnhub lists, as far as its lists have been read. Pure.

US stocks come in one list; a pair names its exchange or broker before the colon, whose list is
either among the crypto or among the forex ones. Stocks of other exchanges (``TICKER.EXCHANGE``)
are not looked up: nothing is known of them, so nothing is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from bus.feeds.finnhub import endpoints
from bus.feeds.finnhub.parser import ListedSymbol

US: str = "US"


class Directory:
    """The lists read so far, by exchange."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[str, ListedSymbol]] = {}

    def wanted(self, symbols: Iterable[str]) -> list[tuple[str, str]]:
        """What to read for these symbols: path and exchange, both kinds for a pair's."""
        exchanges = dict.fromkeys(
            exchange for symbol in symbols if (exchange := _exchange(symbol)) is not None
        )
        paths: list[tuple[str, str]] = []
        for exchange in exchanges:
            if exchange == US:
                paths.append((endpoints.STOCK_SYMBOLS_PATH, US))
            else:
                paths.append((endpoints.CRYPTO_SYMBOLS_PATH, exchange))
                paths.append((endpoints.FOREX_SYMBOLS_PATH, exchange))
        return paths

    def take(self, exchange: str, listed: Sequence[ListedSymbol]) -> None:
        """One list as read; an empty one says nothing."""
        if listed:
            self._lists.setdefault(exchange, {}).update({one.symbol: one for one in listed})

    def listed(self, symbol: str) -> ListedSymbol | None:
        """What the lists say about a symbol; None when it is in none that was read."""
        exchange = _exchange(symbol)
        return self._lists.get(exchange, {}).get(symbol) if exchange is not None else None

    def is_unknown(self, symbol: str) -> bool:
        """Whether the list the symbol would be in was read, and it is not there."""
        exchange = _exchange(symbol)
        found = self._lists.get(exchange) if exchange is not None else None
        return bool(found) and symbol not in (found or {})

    def nearest(self, symbol: str) -> list[str]:
        """At most three names of the same list that look like it. Slow: not for the loop."""
        names = self._lists.get(_exchange(symbol) or "", {})
        return difflib.get_close_matches(symbol, names, n=3, cutoff=0.6)


def _exchange(symbol: str) -> str | None:
    """The list a symbol would be in; None where there is no telling."""
    exchange, colon, _ = symbol.partition(":")
    if colon:
        return exchange
    return None if "." in symbol else US
