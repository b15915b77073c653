"""Finnhub's REST answers: a request as values in, a reply out.

Pure. Paths, shapes and limits as in Finnhub's own schema: 60 calls a minute for a key, 30 a second
at most. A symbol without data gives zeros from ``/quote``, as at the venue.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping

from bus.simulator.budget import Budget
from bus.simulator.finnhub.news import CATEGORIES, NewsDesk
from bus.simulator.finnhub.stocks import StockMarket
from bus.simulator.finnhub.streams import CRYPTO_EXCHANGE
from bus.simulator.http_reply import HttpReply, reply
from bus.simulator.instruments import E8
from bus.simulator.market import SymbolMarket

SECOND_NS = 1_000_000_000
CALLS_PER_S = 30
INVALID_KEY = {"error": "Invalid API key."}
LIMIT_REACHED = {"error": "API limit reached. Please try again later. Remaining Limit: 0"}
NO_ACCESS = {"error": "You don't have access to this resource."}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PREMIUM = ("/api/v1/press-releases", "/api/v1/stock/bidask", "/api/v1/stock/candle")

Query = Mapping[str, str]


class _Refused(Exception):
    """A parameter is missing or wrong; becomes 422 with this message."""


class FinnhubRest:
    """Answers from the markets and the news desk as they are now."""

    def __init__(
        self,
        stocks: Mapping[str, StockMarket],
        crypto: Mapping[str, SymbolMarket],
        desk: NewsDesk,
        *,
        calls_per_min: int,
    ) -> None:
        self._stocks = stocks
        self._crypto = {f"{CRYPTO_EXCHANGE}:{name}": market for name, market in crypto.items()}
        self._desk = desk
        self._budget = Budget(calls_per_min, bans=False)
        self._last_calls_ns: deque[int] = deque(maxlen=CALLS_PER_S)
        self._routes: dict[str, Callable[[Query, int], HttpReply]] = {
            "/api/v1/quote": self._quote,
            "/api/v1/news": self._news,
            "/api/v1/company-news": self._company_news,
            "/api/v1/stock/symbol": self._stock_symbols,
            "/api/v1/stock/market-status": self._market_status,
            "/api/v1/crypto/exchange": lambda _query, _now_ns: reply([CRYPTO_EXCHANGE]),
            "/api/v1/crypto/symbol": self._crypto_symbols,
            "/api/v1/search": self._search,
        }

    def answer(self, path: str, query: Query, token: str, now_ns: int) -> HttpReply:
        """The reply to a request with an accepted key; refusals are replies too."""
        last = self._last_calls_ns
        if len(last) == CALLS_PER_S and now_ns - last[0] < SECOND_NS:
            return reply(LIMIT_REACHED, 429)
        last.append(now_ns)
        verdict = self._budget.charge(token, 1, now_ns)
        if verdict.status != 200:
            return reply(LIMIT_REACHED, 429)
        if path in _PREMIUM:
            return reply(NO_ACCESS, 403)
        route = self._routes.get(path)
        if route is None:
            return reply({"error": "Endpoint not found."}, 404)
        try:
            return route(query, now_ns)
        except _Refused as refused:
            return reply({"error": str(refused)}, 422)

    def _quote(self, query: Query, now_ns: int) -> HttpReply:
        symbol = _required(query, "symbol")
        if (stock := self._stocks.get(symbol)) is not None:
            day = stock.quote()
            return _quote_reply(day.current, day.high, day.low, day.open, day.previous_close,
                                day.time_s)  # fmt: skip
        if (market := self._crypto.get(symbol)) is not None:
            window = market.window(now_ns)
            prices = (window.last_e8, window.high_e8, window.low_e8, window.open_e8)
            last, high, low, open_ = (price / E8 for price in prices)
            return _quote_reply(last, high, low, open_, open_, now_ns // SECOND_NS)
        return reply({"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0})

    def _news(self, query: Query, _now_ns: int) -> HttpReply:
        category = _required(query, "category")
        if category not in CATEGORIES:
            return reply([])
        text = query.get("minId", "0") or "0"
        if not (text.isascii() and text.isdigit()):
            raise _Refused("minId must be an integer")
        return reply(self._desk.general(category, int(text)))

    def _company_news(self, query: Query, _now_ns: int) -> HttpReply:
        symbol = _required(query, "symbol")
        first, last = _required(query, "from"), _required(query, "to")
        if not (_DAY.fullmatch(first) and _DAY.fullmatch(last)):
            raise _Refused("Wrong date format. Please use 2006-01-02")
        return reply(self._desk.company(symbol, first, last))

    def _stock_symbols(self, query: Query, _now_ns: int) -> HttpReply:
        if _required(query, "exchange") != "US":
            return reply([])
        return reply(
            [
                {
                    "currency": "USD",
                    "description": stock.instrument.description,
                    "displaySymbol": symbol,
                    "figi": "",
                    "isin": None,
                    "mic": "XNAS",
                    "shareClassFIGI": "",
                    "symbol": symbol,
                    "symbol2": "",
                    "type": "Common Stock",
                }
                for symbol, stock in self._stocks.items()
            ]
        )

    def _crypto_symbols(self, query: Query, _now_ns: int) -> HttpReply:
        if _required(query, "exchange").upper() != CRYPTO_EXCHANGE:
            return reply([])
        return reply(
            [
                {
                    "description": f"Binance {market.instrument.symbol}",
                    "displaySymbol": f"{market.instrument.base}/{market.instrument.quote}",
                    "symbol": symbol,
                }
                for symbol, market in self._crypto.items()
            ]
        )

    def _market_status(self, query: Query, now_ns: int) -> HttpReply:
        return reply(
            {
                "exchange": _required(query, "exchange"),
                "holiday": None,
                "isOpen": True,
                "session": "regular",
                "t": now_ns // SECOND_NS,
                "timezone": "America/New_York",
            }
        )

    def _search(self, query: Query, _now_ns: int) -> HttpReply:
        wanted = _required(query, "q").upper()
        rows = [
            {
                "description": stock.instrument.description,
                "displaySymbol": symbol,
                "symbol": symbol,
                "type": "Common Stock",
            }
            for symbol, stock in self._stocks.items()
            if wanted in symbol or wanted in stock.instrument.description
        ]
        return reply({"count": len(rows), "result": rows})


def _required(query: Query, name: str) -> str:
    value = query.get(name, "")
    if not value:
        raise _Refused(f"Missing parameters: {name}")
    return value


def _quote_reply(
    last: float, high: float, low: float, open_: float, previous: float, time_s: int
) -> HttpReply:
    return reply(
        {
            "c": last,
            "d": round(last - previous, 8),
            "dp": round(100 * (last / previous - 1), 4),
            "h": high,
            "l": low,
            "o": open_,
            "pc": previous,
            "t": time_s,
        }
    )
