"""Where Finnhub is, what is said to it, and what its calls may cost. Pure.

Source: Finnhub's API documentation (swagger.json: WebSocket, limits, authentication). The key goes
into the WebSocket URL, which is the only way offered, and into a header for REST; neither is ever
logged.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

WS_BASE: Final = "wss://ws.finnhub.io"
REST_BASE: Final = "https://finnhub.io"

NEWS_PATH: Final = "/api/v1/news"
COMPANY_NEWS_PATH: Final = "/api/v1/company-news"
QUOTE_PATH: Final = "/api/v1/quote"
MARKET_STATUS_PATH: Final = "/api/v1/stock/market-status"
KEY_HEADER: Final = "X-Finnhub-Token"
CALLS_PER_MINUTE: Final = 60
"""Of a free key; a key is used by one process, so nearly all of them are ours."""
CALLS_PER_S: Final = 30
"""Of any plan."""
STOCK_SYMBOLS_PATH: Final = "/api/v1/stock/symbol"
CRYPTO_SYMBOLS_PATH: Final = "/api/v1/crypto/symbol"
FOREX_SYMBOLS_PATH: Final = "/api/v1/forex/symbol"
TOO_MANY_SYMBOLS: Final = "too many symbols"
"""Part of the venue's complaint about a subscription beyond the plan's; it names no symbol."""

COMPANY: Final = "company"
"""The news category of items about one company."""


def ws_url(base: str, key: str) -> str:
    """The URL to connect to. Holds the key: not for logs."""
    return f"{base.rstrip('/')}/?token={quote(key, safe='')}"


def subscribe(symbol: str) -> str:
    """One symbol a message: that is all the venue takes."""
    return _message("subscribe", symbol)


def unsubscribe(symbol: str) -> str:
    """The opposite."""
    return _message("unsubscribe", symbol)


def subscribe_news(symbol: str) -> str:
    """News about one company; a paid plan's feature."""
    return _message("subscribe-news", symbol)


def unsubscribe_news(symbol: str) -> str:
    """The opposite."""
    return _message("unsubscribe-news", symbol)


def _message(kind: str, symbol: str) -> str:
    return json.dumps({"type": kind, "symbol": symbol}, separators=(",", ":"))
