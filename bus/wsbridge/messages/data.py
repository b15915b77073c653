"""Messages that carry market data: server to client, shared by all clients of a topic."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class PriceData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``price``. ``change*`` and ``volume`` are null where the venue gives none."""

    symbol: str
    price: float
    change: float | None
    change_percent: float | None
    volume: float | None
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int


class QuoteData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``quote``: top of book; ``update_id`` is the venue's, where it has one."""

    symbol: str
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int
    update_id: int | UnsetType = UNSET


class TradeData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``trade``. ``is_buyer_maker`` and ``side`` (the taker's) are null if unknown."""

    symbol: str
    price: float
    quantity: float
    timestamp: str
    is_buyer_maker: bool | None
    source: str
    trade_id: str | UnsetType = UNSET
    event_us: int | UnsetType = UNSET
    recv_us: int
    side: str | None


class TickerData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``ticker``: rolling 24-hour figures."""

    symbol: str
    price: float
    open: float | None
    high: float | None
    low: float | None
    volume: float | None
    quote_volume: float | None
    change: float | None
    change_percent: float | None
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    trades: int | None
    open_us: int | UnsetType = UNSET
    close_us: int | UnsetType = UNSET
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int


class OrderBookData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``orderbook``: levels ``[price, quantity]``, best first, at most ``depth``."""

    symbol: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    last_update_id: int | None
    depth: int
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int


class NewsData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``news``."""

    id: str
    category: str
    headline: str
    summary: str | None
    url: str | None
    image: str | None
    symbols: list[str]
    publisher: str | None
    published_at: str | None
    source: str
    timestamp: str
    recv_us: int


Data = PriceData | QuoteData | TradeData | TickerData | OrderBookData | NewsData


class DataMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One market-data message. It carries nothing of any one client, so that all share it."""

    type: str
    data: Data
    timestamp: str
    topic: str
    symbol: str | UnsetType = UNSET
    source: str
    seq: int
    snapshot: bool | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    stale: bool | UnsetType = UNSET
    age_ms: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
