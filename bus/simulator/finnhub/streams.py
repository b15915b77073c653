"""From the markets to Finnhub's frames: prints of several symbols share one, as the venue's do.

Each print is encoded once, each frame once for every set of subscribers that wants the same
prints. Nothing is built for symbols nobody takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from bus.simulator.faults import Faults
from bus.simulator.finnhub.news import NewsItem
from bus.simulator.finnhub.stocks import NS_PER_MS, Print, StockMarket
from bus.simulator.instruments import E8
from bus.simulator.market import SymbolMarket
from bus.simulator.market import Trade as CryptoTrade

FLUSH_NS = 200 * NS_PER_MS
CRYPTO_EXCHANGE = "BINANCE"
RELEASE_EVERY = 5
"""One company item in so many is a press release as well."""

_encode = msgspec.json.Encoder().encode


def print_json(item: Print, skew_ms: int = 0) -> bytes:
    """One row of a trade frame, keys in the venue's order."""
    row: dict[str, object] = {}
    if item.conditions is not None:
        row["c"] = item.conditions
    row |= {"p": item.price, "s": item.symbol, "t": item.time_ms + skew_ms, "v": item.size}
    return _encode(row)


def trade_frame(rows: Iterable[bytes]) -> bytes:
    """A trade frame of encoded rows."""
    return b'{"data":[%b],"type":"trade"}' % b",".join(rows)


def news_frame(items: list[NewsItem]) -> bytes:
    """A news frame."""
    return _encode({"data": items, "type": "news"})


def release_frame(item: NewsItem) -> bytes:
    """A press-release frame made from a company item."""
    row = {
        "datetime": item.datetime,
        "fullText": f"https://news.example/pr/{item.id}.html",
        "headline": item.headline,
        "symbol": item.related,
        "url": f"https://news.example/press-releases?id={item.id}",
    }
    return _encode({"data": [row], "type": "pr"})


def crypto_print(symbol: str, trade: CryptoTrade) -> Print:
    """A crypto trade as Finnhub relays it: mostly without ``c``, now and then with an empty one."""
    conditions = () if trade.trade_id % 8 == 0 else None
    return Print(
        symbol,
        trade.price_e8 / E8,
        trade.size_e8 / E8,
        trade.time_ns // NS_PER_MS,
        conditions,
    )


class PrintStream:
    """Collects the prints of all markets and hands them out every 200 ms."""

    def __init__(
        self, stocks: Mapping[str, StockMarket], crypto: Mapping[str, SymbolMarket], faults: Faults
    ) -> None:
        self._stocks = stocks
        self._crypto = {f"{CRYPTO_EXCHANGE}:{name}": market for name, market in crypto.items()}
        self._faults = faults
        # Crypto markets are moved by the Binance side; here their recent trades are read.
        self._seen = {name: _newest(market) for name, market in self._crypto.items()}
        self._pending: list[Print] = []
        self._slot = 0

    @property
    def symbols(self) -> list[str]:
        """Everything that can be subscribed to with effect."""
        return [*self._stocks, *self._crypto]

    def step(self, now_ns: int, wanted: set[str]) -> list[Print]:
        """Move the stocks on; when a frame is due, the wanted prints since the last one in order
        of time."""
        for name, stock in self._stocks.items():
            prints = stock.step(now_ns)
            if name in wanted:
                self._pending += prints
        slot = now_ns // FLUSH_NS
        if slot == self._slot:
            return []
        self._slot = slot
        for name, market in self._crypto.items():
            newest = _newest(market)
            if newest == self._seen[name]:
                continue
            if name in wanted:
                self._pending += [
                    crypto_print(name, trade)
                    for trade in market.recent_trades
                    if trade.trade_id > self._seen[name]
                ]
            self._seen[name] = newest
        due, self._pending = self._pending, []
        due.sort(key=lambda item: item.time_ms)
        return [item for item in due if not self._faults.is_silent(item.symbol, now_ns)]


def _newest(market: SymbolMarket) -> int:
    return market.recent_trades[-1].trade_id if market.recent_trades else 0
