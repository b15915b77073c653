"""Where Binance is, what its streams are called, what its REST calls weigh. Pure.

Source: binance-spot-api-docs, web-socket-streams.md, rest-api.md, faqs/market_data_only.md. The
market-data-only hosts serve the same public streams and calls, and can do nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

WS_BASE: Final = "wss://data-stream.binance.vision"
REST_BASE: Final = "https://data-api.binance.vision"

COMBINED_PATH: Final = "/stream"
EXCHANGE_INFO_PATH: Final = "/api/v3/exchangeInfo"
EXCHANGE_INFO_WEIGHT: Final = 20
DEPTH_PATH: Final = "/api/v3/depth"
TRADES_PATH: Final = "/api/v3/trades"
TRADES_WEIGHT: Final = 25
TRADES_PER_CALL: Final = 1_000
"""As many as the venue tells, whatever is asked for: the newest."""
WEIGHT_HEADER: Final = "x-mbx-used-weight-1m"
WEIGHT_PER_MINUTE: Final = 6_000
"""The documented limit; exchangeInfo tells the one in force."""

TRADE: Final = "trade"
QUOTE: Final = "bookTicker"
TICKER: Final = "ticker"
DEPTH: Final = "depth@100ms"
STREAMS: Final = (TRADE, QUOTE, TICKER, DEPTH)

NAMES_PER_SUBSCRIBE: Final = 100
"""Stream names in one SUBSCRIBE: 200 are known to be accepted."""


def stream_name(venue_symbol: str, kind: str) -> str:
    """``BTCUSDT``, ``trade`` to ``btcusdt@trade``: symbols in stream names are lower case."""
    return f"{venue_symbol.lower()}@{kind}"


def control_messages(method: str, names: Sequence[str], first_id: int) -> list[str]:
    """``SUBSCRIBE`` or ``UNSUBSCRIBE`` of all names, in as few messages as allowed."""
    return [
        json.dumps(
            {
                "method": method,
                "params": list(names[start : start + NAMES_PER_SUBSCRIBE]),
                "id": first_id + start // NAMES_PER_SUBSCRIBE,
            },
            separators=(",", ":"),
        )
        for start in range(0, len(names), NAMES_PER_SUBSCRIBE)
    ]


def affordable_limit(limit: int, books: int, room: int) -> int:
    """Levels a side to ask for when so many books want a snapshot and so much weight is left.

    The limit set, if all of them can have it this minute; else fewer, at least 100 (or what is
    set, if that is less): a book of few levels now is worth more than a deep one in minutes.
    """
    for fewer in (limit, 500, 100):
        if fewer <= limit and books * depth_weight(fewer) <= room:
            return fewer
    return min(limit, 100)


def depth_weight(limit: int) -> int:
    """Weight of one ``/depth`` call of so many levels a side."""
    for most, weight in ((100, 5), (500, 25), (1_000, 50)):
        if limit <= most:
            return weight
    return 250
