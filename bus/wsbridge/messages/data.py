"""Messages that carry market data: server to client, shared by all clients of a topic."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

Number = float | str
"""A price or quantity: a number, or its decimal text where ``numbers=string`` was asked for."""


class PriceData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``price``. ``change*`` and ``volume`` are null where the venue gives none."""

    symbol: str
    price: Number
    change: Number | None
    change_percent: Number | None
    volume: Number | None
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int


class QuoteData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``quote``: top of book; ``update_id`` is the venue's, where it has one."""

    symbol: str
    bid: Number | None
    bid_size: Number | None
    ask: Number | None
    ask_size: Number | None
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int
    update_id: int | UnsetType = UNSET


class TradeData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``trade``. ``is_buyer_maker`` and ``side`` (the taker's) are null if unknown."""

    symbol: str
    price: Number
    quantity: Number
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
    price: Number
    open: Number | None
    high: Number | None
    low: Number | None
    volume: Number | None
    quote_volume: Number | None
    change: Number | None
    change_percent: Number | None
    bid: Number | None
    bid_size: Number | None
    ask: Number | None
    ask_size: Number | None
    trades: int | None
    open_us: int | UnsetType = UNSET
    close_us: int | UnsetType = UNSET
    source: str
    timestamp: str
    event_us: int | UnsetType = UNSET
    recv_us: int


class OrderBookData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Payload of ``orderbook``: levels ``[price, quantity]``, best first, at most ``depth``.

    Of ``orderbook.X#delta``: the whole book in a snapshot, afterwards changed levels (quantity 0
    removes one) with ``first_update_id``; ``checksum`` is that of the book after the change.
    """

    symbol: str
    bids: list[tuple[Number, Number]]
    asks: list[tuple[Number, Number]]
    first_update_id: int | UnsetType = UNSET
    last_update_id: int | None
    depth: int | UnsetType = UNSET
    checksum: int | UnsetType = UNSET
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
    delta: bool | UnsetType = UNSET
    data: Data
    timestamp: str
    topic: str
    symbol: str | UnsetType = UNSET
    source: str
    seq: int
    snapshot: bool | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    conflated: int | UnsetType = UNSET
    stale: bool | UnsetType = UNSET
    age_ms: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
