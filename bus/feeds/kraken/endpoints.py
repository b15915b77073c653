"""Where Kraken is, what is said to it, and what its numbers are. Pure.

Source: docs.kraken.com, websocket-v2: book, ticker, trade, instrument, ping; guides: spot-ws-intro.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

WS_BASE: Final = "wss://ws.kraken.com"
PATH: Final = "/v2"

BOOK: Final = "book"
TRADES: Final = "trade"
TICKER: Final = "ticker"
INSTRUMENT: Final = "instrument"
CHANNELS: Final = (TICKER, TRADES, BOOK)

DEPTHS: Final = (10, 25, 100, 500, 1000)
PING_EVERY_S: Final = 30.0
"""The server closes a connection that is idle for about a minute."""
SILENT_CONNECTION_S: Final = 10.0
"""A heartbeat comes every second in which nothing else does."""
PAIRS_PER_REQUEST: Final = 50


def book_depth(levels: int) -> int:
    """The least depth offered that holds so many levels, or the greatest there is."""
    return next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])


def request(method: str, channel: str, pairs: Sequence[str], depth: int, req_id: int) -> str:
    """``subscribe`` or ``unsubscribe`` of one channel; each pair is answered by itself.

    Defaults that differ between editions of the documentation are always spelled out: every
    channel begins with its snapshot, that of trades with the last 50, among which may be some that
    were missed.
    """
    params: dict[str, Any] = {"channel": channel}
    if channel != INSTRUMENT:
        params["symbol"] = list(pairs)
    if channel == BOOK:
        params["depth"] = depth
    if channel == TICKER:
        params["event_trigger"] = "bbo"
    if method == "subscribe":
        params["snapshot"] = True
    return _message({"method": method, "params": params, "req_id": req_id})


def ping(req_id: int) -> str:
    """Keeps the connection from being idle."""
    return _message({"method": "ping", "req_id": req_id})


def _message(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
