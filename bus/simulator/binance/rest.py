"""Binance's REST answers for market data: a request as values in, a reply out.

Pure. Weights, parameters, limits and error codes as in binance-spot-api-docs: rest-api.md and
errors.md. Only GET requests of public market data exist here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from bus.simulator.binance.messages import (
    NS_PER_MS,
    NS_PER_US,
    VenueTime,
    depth_snapshot,
    percent_text,
)
from bus.simulator.budget import Budget
from bus.simulator.http_reply import HttpReply, reply
from bus.simulator.instruments import E8, CryptoInstrument, e8_text
from bus.simulator.market import SymbolMarket, Trade

MAX_DEPTH = 5_000
DEFAULT_DEPTH = 100
MAX_TRADES = 1_000
DEFAULT_TRADES = 500
_SYMBOL = re.compile(r"[A-Z0-9-_.]{1,20}")

Query = Mapping[str, str]


class Refused(Exception):
    """A request the venue would refuse; becomes ``{"code":…,"msg":…}`` with ``status``."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        self.code = code
        self.status = status
        super().__init__(message)

    def reply(self) -> HttpReply:
        """The error as the venue words it."""
        return reply({"code": self.code, "msg": str(self)}, self.status)


def refusal(status: int, retry_after_s: int, banned_until_ms: int = 0) -> HttpReply:
    """A 429 or 418 with its ``Retry-After``."""
    if status == 418:
        message = (
            f"Way too much request weight used; IP banned until {banned_until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
    else:
        message = (
            "Too much request weight used; please use WebSocket Streams for live updates "
            "to avoid polling the API."
        )
    return Refused(-1003, message, status).reply().with_headers(Retry_After=str(retry_after_s))


class BinanceRest:
    """Answers from the markets as they are now. ``weight_per_min`` is also what exchangeInfo says.

    ``markets`` may be empty and ``listed`` full: a playback lists a symbol but has no market.
    """

    def __init__(
        self,
        listed: Mapping[str, CryptoInstrument],
        markets: Mapping[str, SymbolMarket],
        weight_per_min: int,
    ) -> None:
        self._listed = listed
        self._markets = markets
        self._weight_per_min = weight_per_min
        self._budget = Budget(weight_per_min, bans=True)
        self._routes: dict[str, Callable[[Query, int, VenueTime], HttpReply]] = {
            "/api/v3/ping": lambda _query, _now_ns, _stamp: reply({}),
            "/api/v3/time": lambda _query, now_ns, stamp: reply({"serverTime": stamp(now_ns)}),
            "/api/v3/exchangeInfo": self._exchange_info,
            "/api/v3/depth": self._depth,
            "/api/v3/trades": self._trades,
            "/api/v3/ticker/24hr": self._day_ticker,
            "/api/v3/ticker/bookTicker": self._book_ticker,
            "/api/v3/ticker/price": self._price_ticker,
        }

    def admit(self, path: str, query: Query, caller: str, now_ns: int) -> tuple[HttpReply, bool]:
        """Charge a request. A refusal and ``False``, or a bare 200 with the weight header."""
        verdict = self._budget.charge(caller, self._weight(path, query), now_ns)
        used = {"X_MBX_USED_WEIGHT": str(verdict.used), "X_MBX_USED_WEIGHT_1M": str(verdict.used)}
        if verdict.status != 200:
            until_ms = verdict.banned_until_ns // NS_PER_MS
            answer = refusal(verdict.status, verdict.retry_after_s, until_ms)
            return answer.with_headers(**used), False
        return HttpReply(200, b"").with_headers(**used), True

    def answer(self, path: str, query: Query, now_ns: int, stamp: VenueTime) -> HttpReply:
        """The reply to a request that was admitted; errors are replies too."""
        route = self._routes.get(path)
        if route is None:
            return HttpReply(404, b"<html><body><h2>404 Not found</h2></body></html>")
        try:
            return route(query, now_ns, stamp)
        except Refused as refused:
            return refused.reply()

    def symbol_of(self, query: Query) -> str:
        """The listed symbol a request names. Raises :class:`Refused`."""
        symbol = query.get("symbol", "")
        if not symbol:
            raise Refused(
                -1102,
                "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
            )
        return self._known(symbol)

    def _known(self, symbol: str) -> str:
        if not _SYMBOL.fullmatch(symbol):
            raise Refused(
                -1100,
                "Illegal characters found in parameter 'symbol'; "
                "legal range is '^[A-Z0-9-_.]{1,20}$'.",
            )
        if symbol not in self._listed:
            raise Refused(-1121, "Invalid symbol.")
        return symbol

    def _market(self, query: Query) -> SymbolMarket:
        return self._markets[self.symbol_of(query)]

    def _symbols(self, query: Query) -> tuple[list[str], bool]:
        """The symbols asked for (all by default), and whether exactly one was named."""
        if "symbol" in query and "symbols" in query:
            raise Refused(-1128, "Combination of optional parameters invalid.")
        if "symbol" in query:
            return [self.symbol_of(query)], True
        if "symbols" not in query:
            return list(self._listed), False
        try:
            names = json.loads(query["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise Refused(-1100, "Illegal characters found in parameter 'symbols'.")
        return [self._known(name) for name in dict.fromkeys(names)], False

    def _weight(self, path: str, query: Query) -> int:
        single = "symbol" in query
        if path == "/api/v3/depth":
            limit = min(MAX_DEPTH, _number(query.get("limit"), DEFAULT_DEPTH))
            return next(
                w for top, w in ((100, 5), (500, 25), (1000, 50), (5000, 250)) if limit <= top
            )
        if path == "/api/v3/ticker/24hr":
            count = 1 if single else query["symbols"].count(",") + 1 if "symbols" in query else 101
            return 2 if count <= 20 else 40 if count <= 100 else 80
        if path in ("/api/v3/ticker/price", "/api/v3/ticker/bookTicker"):
            return 2 if single else 4
        return {"/api/v3/exchangeInfo": 20, "/api/v3/trades": 25}.get(path, 1)

    def _exchange_info(self, query: Query, now_ns: int, stamp: VenueTime) -> HttpReply:
        symbols, _ = self._symbols(query)
        status = query.get("symbolStatus", "TRADING")
        if status not in ("TRADING", "HALT", "BREAK"):
            raise Refused(-1100, "Illegal characters found in parameter 'symbolStatus'.")
        return reply(
            {
                "timezone": "UTC",
                "serverTime": stamp(now_ns),
                "rateLimits": [
                    _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, self._weight_per_min),
                    _rate_limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
                ],
                "exchangeFilters": [],
                "symbols": [
                    listing(self._listed[symbol]) for symbol in symbols if status == "TRADING"
                ],
            }
        )

    def _depth(self, query: Query, _now_ns: int, _stamp: VenueTime) -> HttpReply:
        market = self._market(query)
        return HttpReply(200, depth_snapshot(*market.snapshot(depth_limit(query))))

    def _trades(self, query: Query, _now_ns: int, stamp: VenueTime) -> HttpReply:
        market = self._market(query)
        limit = trades_limit(query)
        return trades_reply(list(market.recent_trades)[-limit:], stamp)

    def _day_ticker(self, query: Query, now_ns: int, stamp: VenueTime) -> HttpReply:
        symbols, single = self._symbols(query)
        mini = query.get("type", "FULL") == "MINI"
        rows = [_day_row(self._markets[name], now_ns, stamp, mini) for name in symbols
                if name in self._markets]  # fmt: skip
        return _one_or_all(rows, single)

    def _book_ticker(self, query: Query, _now_ns: int, _stamp: VenueTime) -> HttpReply:
        symbols, single = self._symbols(query)
        rows: list[dict[str, object]] = []
        for name in symbols:
            if (market := self._markets.get(name)) is not None:
                quote = market.quote()
                rows.append(
                    {
                        "symbol": name,
                        "bidPrice": e8_text(quote.bid_e8),
                        "bidQty": e8_text(quote.bid_size_e8),
                        "askPrice": e8_text(quote.ask_e8),
                        "askQty": e8_text(quote.ask_size_e8),
                    }
                )
        return _one_or_all(rows, single)

    def _price_ticker(self, query: Query, now_ns: int, _stamp: VenueTime) -> HttpReply:
        symbols, single = self._symbols(query)
        rows: list[dict[str, object]] = [
            {"symbol": name, "price": e8_text(self._markets[name].window(now_ns).last_e8)}
            for name in symbols
            if name in self._markets
        ]
        return _one_or_all(rows, single)


def stamp_for(unit_header: str | None, skew_ns: int) -> VenueTime:
    """How a REST reply writes times: ``X-MBX-TIME-UNIT: MICROSECOND`` asks for microseconds."""
    micro = (unit_header or "").upper() == "MICROSECOND"
    return VenueTime(NS_PER_US if micro else NS_PER_MS, skew_ns)


def depth_limit(query: Query) -> int:
    """``limit`` of a depth request: default 100, more than 5000 is cut. Raises :class:`Refused`."""
    return min(MAX_DEPTH, _positive(query, "limit", DEFAULT_DEPTH))


def trades_limit(query: Query) -> int:
    """``limit`` of a trades request: default 500, at most 1000. Raises :class:`Refused`."""
    return min(MAX_TRADES, _positive(query, "limit", DEFAULT_TRADES))


def trades_reply(trades: Sequence[Trade], stamp: VenueTime) -> HttpReply:
    """``/api/v3/trades``: the oldest first."""
    return reply(
        [
            {
                "id": trade.trade_id,
                "price": e8_text(trade.price_e8),
                "qty": e8_text(trade.size_e8),
                "quoteQty": e8_text(trade.price_e8 * trade.size_e8 // E8),
                "time": stamp(trade.time_ns),
                "isBuyerMaker": trade.buyer_is_maker,
                "isBestMatch": True,
            }
            for trade in trades
        ]
    )


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default


def _positive(query: Query, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise Refused(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    if int(text) < 1:
        raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)


def _one_or_all(rows: list[dict[str, object]], single: bool) -> HttpReply:
    if not single:
        return reply(rows)
    return reply(rows[0] if rows else {})


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _day_row(market: SymbolMarket, now_ns: int, stamp: VenueTime, mini: bool) -> dict[str, object]:
    window, quote = market.window(now_ns), market.quote()
    change_e8 = window.last_e8 - window.open_e8
    row: dict[str, object] = {"symbol": market.instrument.symbol}
    if not mini:
        row |= {
            "priceChange": e8_text(change_e8),
            "priceChangePercent": percent_text(change_e8, window.open_e8),
            "weightedAvgPrice": e8_text(window.average_e8),
            "prevClosePrice": e8_text(window.previous_close_e8),
            "lastPrice": e8_text(window.last_e8),
            "lastQty": e8_text(window.last_size_e8),
            "bidPrice": e8_text(quote.bid_e8),
            "bidQty": e8_text(quote.bid_size_e8),
            "askPrice": e8_text(quote.ask_e8),
            "askQty": e8_text(quote.ask_size_e8),
        }
    row |= {
        "openPrice": e8_text(window.open_e8),
        "highPrice": e8_text(window.high_e8),
        "lowPrice": e8_text(window.low_e8),
    }
    if mini:
        row["lastPrice"] = e8_text(window.last_e8)
    return row | {
        "volume": e8_text(window.volume_e8),
        "quoteVolume": e8_text(window.quote_e8),
        "openTime": stamp(window.open_ns),
        "closeTime": stamp(window.close_ns),
        "firstId": window.first_id,
        "lastId": window.last_id,
        "count": window.count,
    }


def listing(instrument: CryptoInstrument) -> dict[str, object]:
    """One entry of exchangeInfo's ``symbols``."""
    return {
        "symbol": instrument.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": e8_text(instrument.tick_e8),
                "maxPrice": "1000000.00000000",
                "tickSize": e8_text(instrument.tick_e8),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": e8_text(instrument.lot_e8),
                "maxQty": "9000000.00000000",
                "stepSize": e8_text(instrument.lot_e8),
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }
