"""Coinbase Exchange's REST answers for market data: a request as values in, a reply out. Pure.

Source: docs.cdp.coinbase.com, Exchange REST API: products, trades (cursor pagination: ``after``
brings older, ``before`` newer items; ``side`` is the maker's), book, ticker, stats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bus.simulator.coinbase import messages
from bus.simulator.coinbase.streams import ProductStreams
from bus.simulator.http_reply import HttpReply, reply
from bus.simulator.instruments import e8_text
from bus.simulator.ladder import Level
from bus.simulator.market import Trade
from bus.simulator.timestamps import rfc3339

MAX_TRADES: Final = 1_000
NOT_FOUND: Final = {"message": "NotFound"}

Query = Mapping[str, str]


class CoinbaseRest:
    """Answers of one venue; ``streams`` by product."""

    def __init__(self, streams: Mapping[str, ProductStreams]) -> None:
        self._streams = streams

    def answer(self, path: str, query: Query, now_ns: int, skew_ns: int) -> HttpReply:
        """The reply to ``GET path``; unknown paths and products are 404."""
        parts = path.strip("/").split("/")
        if parts == ["time"]:
            shown_ns = now_ns + skew_ns
            return reply({"iso": rfc3339(shown_ns), "epoch": shown_ns / 1e9})
        if parts[0] != "products" or len(parts) > 3:
            return reply(NOT_FOUND, 404)
        if len(parts) == 1:
            return reply([messages.product(one.instrument) for one in self._streams.values()])
        one = self._streams.get(parts[1])
        if one is None:
            return reply(NOT_FOUND, 404)
        if len(parts) == 2:
            return reply(messages.product(one.instrument))
        if parts[2] == "trades":
            return self._trades(one, query, skew_ns)
        if parts[2] == "book":
            return self._book(one, query, now_ns + skew_ns)
        if parts[2] in ("ticker", "stats"):
            return self._figures(one, parts[2], now_ns, skew_ns)
        return reply(NOT_FOUND, 404)

    def _trades(self, one: ProductStreams, query: Query, skew_ns: int) -> HttpReply:
        try:
            limit, after, before = (
                int(query[name]) if name in query else None for name in ("limit", "after", "before")
            )
        except ValueError:
            return reply({"message": "invalid pagination parameter"}, 400)
        limit = MAX_TRADES if limit is None else limit
        if not 1 <= limit <= MAX_TRADES:
            return reply({"message": "limit must be from 1 to 1000"}, 400)
        newest_first = [
            trade
            for trade in reversed(one.market.recent_trades)
            if (after is None or trade.trade_id < after)
            and (before is None or trade.trade_id > before)
        ]
        # with ``before`` the page next to the cursor, else the newest one
        page = newest_first[-limit:] if before is not None else newest_first[:limit]
        answer = reply([_trade(one, trade, skew_ns) for trade in page])
        if not page:
            return answer
        return answer.with_headers(CB_BEFORE=str(page[0].trade_id), CB_AFTER=str(page[-1].trade_id))

    def _book(self, one: ProductStreams, query: Query, shown_ns: int) -> HttpReply:
        counts = {"1": 1, "2": 10**9}
        count = counts.get(query.get("level", "1"))
        if count is None:
            return reply({"message": "Invalid level"}, 400)
        _, bids, asks = one.market.snapshot(count)
        return reply(
            {
                "bids": [_level(one, level) for level in bids],
                "asks": [_level(one, level) for level in asks],
                "sequence": one.sequence,
                "auction_mode": False,
                "auction": None,
                "time": rfc3339(shown_ns),
            }
        )

    def _figures(self, one: ProductStreams, kind: str, now_ns: int, skew_ns: int) -> HttpReply:
        window, quote, instrument = one.market.window(now_ns), one.market.quote(), one.instrument
        last = messages.price_text(window.last_e8, instrument)
        if kind == "stats":
            return reply(
                {
                    "open": messages.price_text(window.open_e8, instrument),
                    "high": messages.price_text(window.high_e8, instrument),
                    "low": messages.price_text(window.low_e8, instrument),
                    "last": last,
                    "volume": e8_text(window.volume_e8),
                    "volume_30day": e8_text(30 * window.volume_e8),
                }
            )
        return reply(
            {
                "trade_id": one.last_trade_id,
                "price": last,
                "size": e8_text(window.last_size_e8),
                "time": rfc3339(now_ns + skew_ns),
                "bid": messages.price_text(quote.bid_e8, instrument),
                "ask": messages.price_text(quote.ask_e8, instrument),
                "volume": e8_text(window.volume_e8),
            }
        )


def _trade(one: ProductStreams, trade: Trade, skew_ns: int) -> dict[str, object]:
    return {
        "trade_id": trade.trade_id,
        "side": messages.maker_side(trade),
        "size": e8_text(trade.size_e8),
        "price": messages.price_text(trade.price_e8, one.instrument),
        "time": rfc3339(trade.time_ns + skew_ns),
    }


def _level(one: ProductStreams, level: Level) -> list[object]:
    return [messages.price_text(level[0], one.instrument), e8_text(level[1]), 1]
