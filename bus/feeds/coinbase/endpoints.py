"""Where Coinbase Exchange is, what is said to it, and what its numbers are. Pure.

Source: docs.cdp.coinbase.com, Exchange: WebSocket overview, channels, rate limits; REST products,
product trades, pagination. None of the channels used needs a key (``level2`` does, its batched
form does not).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

WS_BASE: Final = "wss://ws-feed.exchange.coinbase.com"
REST_BASE: Final = "https://api.exchange.coinbase.com"

PRODUCTS_PATH: Final = "/products"
CALLS_PER_MINUTE: Final = 300
"""Half of what ten calls a second allow."""
TRADES_PER_CALL: Final = 1_000

BOOK: Final = "level2_batch"
TRADES: Final = "matches"
TICKER: Final = "ticker"
HEARTBEAT: Final = "heartbeat"
CHANNELS: Final = (HEARTBEAT, TICKER, TRADES, BOOK)

HEARTBEAT_STALE_S: Final = 5.0
"""A product's heartbeat comes once a second."""
SILENT_CONNECTION_S: Final = 15.0
"""With heartbeats of every product, a connection without a frame for so long is dead."""
PRODUCTS_PER_SUBSCRIBE: Final = 20


def trades_path(product: str) -> str:
    """``GET`` it with ``after`` (older than this id) and ``limit``."""
    return f"{PRODUCTS_PATH}/{product}/trades"


def subscribe(products: Sequence[str], channels: Sequence[str] = CHANNELS) -> str:
    """One message for all of them; a product that does not exist makes all of it fail."""
    return _message("subscribe", products, channels)


def unsubscribe(products: Sequence[str], channels: Sequence[str] = CHANNELS) -> str:
    """The opposite."""
    return _message("unsubscribe", products, channels)


def _message(kind: str, products: Sequence[str], channels: Sequence[str]) -> str:
    message = {"type": kind, "product_ids": list(products), "channels": list(channels)}
    return json.dumps(message, separators=(",", ":"))
