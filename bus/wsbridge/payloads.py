"""From a bus tick to the message a client reads: the one place where field names meet.

Values in, values out; the topic decides what the client calls the stream and the symbol. Trades
go out as type ``trade``, as the legacy API documents. A tick whose body is not of its topic's
stream cannot get here: the codec checks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from bus.model import Depth, News, OrderBook, Price, Quote, Tick, Ticker, Trade
from bus.wsbridge.messages import (
    Data,
    DataMessage,
    NewsData,
    Number,
    OrderBookData,
    PriceData,
    QuoteData,
    TickerData,
    TradeData,
    epoch_text,
    rfc3339,
)
from bus.wsbridge.topics import MarketTopic

DEFAULT_DEPTH = 20
"""Order-book levels a side where the client names no depth."""


def message_of(
    tick: Tick,
    topic: MarketTopic,
    *,
    depth: int = DEFAULT_DEPTH,
    snapshot: bool = False,
    recovered: bool = False,
    stale_age_ms: int | None = None,
    with_epoch: bool = False,
    numbers: str = "float",
    conflated: int = 0,
    checksum: int | UnsetType = UNSET,
) -> DataMessage:
    """The message of ``tick`` on ``topic``.

    ``snapshot`` marks a value sent because of a subscription (it then names its epoch),
    ``stale_age_ms`` the age of a snapshot past its time, ``depth`` the levels a side of a book,
    ``with_epoch`` one whose epoch its reader does not know yet, ``conflated`` how many older ones
    it replaces. A :class:`~bus.model.Depth` body that is no snapshot gives a delta.
    """
    stream = topic.stream
    body = tick.body
    is_delta = isinstance(body, Depth) and not body.is_snapshot
    data = _data(tick, topic, depth, checksum)
    if numbers == "string":
        data = _with_texts(data)
    return DataMessage(
        type="trade" if stream == "trades" else stream,
        delta=is_delta or UNSET,
        data=data,
        timestamp=rfc3339(tick.pub_ts_ns),
        topic=topic.name,
        symbol=UNSET if stream == "news" else topic.symbol,
        source=topic.source,
        seq=tick.seq,
        snapshot=snapshot or UNSET,
        recovered=recovered or UNSET,
        conflated=conflated or UNSET,
        stale=UNSET if stale_age_ms is None else True,
        age_ms=UNSET if stale_age_ms is None else stale_age_ms,
        epoch=epoch_text(tick.epoch) if snapshot or with_epoch else UNSET,
    )


def _data(tick: Tick, topic: MarketTopic, depth: int, checksum: int | UnsetType) -> Data:
    body = tick.body
    symbol, source = topic.symbol, topic.source
    venue_ts_ns = tick.venue_ts_ns
    recv_us = tick.recv_ts_ns // 1000
    timestamp = rfc3339(tick.recv_ts_ns if venue_ts_ns is None else venue_ts_ns)
    event_us = UNSET if venue_ts_ns is None else venue_ts_ns // 1000
    if isinstance(body, Price):
        return PriceData(
            symbol=symbol,
            price=body.price,
            change=body.change,
            change_percent=body.change_percent,
            volume=body.volume,
            source=source,
            timestamp=timestamp,
            event_us=event_us,
            recv_us=recv_us,
        )
    if isinstance(body, Trade):
        side = body.aggressor_side
        return TradeData(
            symbol=symbol,
            price=body.price,
            quantity=body.size,
            timestamp=timestamp,
            # The buyer was the resting side exactly when the taker sold.
            is_buyer_maker=None if side is None else side == "sell",
            source=source,
            trade_id=UNSET if body.trade_id is None else str(body.trade_id),
            event_us=event_us,
            recv_us=recv_us,
            side=side,
        )
    if isinstance(body, OrderBook):
        return OrderBookData(
            symbol=symbol,
            bids=list(body.bids[:depth]),
            asks=list(body.asks[:depth]),
            last_update_id=body.venue_seq,
            depth=depth,
            source=source,
            timestamp=timestamp,
            event_us=event_us,
            recv_us=recv_us,
        )
    if isinstance(body, Depth):
        return OrderBookData(
            symbol=symbol,
            bids=list(body.bids),
            asks=list(body.asks),
            first_update_id=UNSET if body.is_snapshot else body.first_venue_seq,
            last_update_id=body.last_venue_seq,
            checksum=checksum,
            source=source,
            timestamp=timestamp,
            event_us=event_us,
            recv_us=recv_us,
        )
    if isinstance(body, Quote):
        return QuoteData(
            symbol=symbol,
            bid=body.bid_price,
            bid_size=body.bid_size,
            ask=body.ask_price,
            ask_size=body.ask_size,
            source=source,
            timestamp=timestamp,
            event_us=event_us,
            recv_us=recv_us,
            update_id=_or_unset(body.venue_seq),
        )
    if isinstance(body, Ticker):
        return TickerData(
            symbol=symbol,
            price=body.last,
            open=body.open,
            high=body.high,
            low=body.low,
            volume=body.volume,
            quote_volume=body.quote_volume,
            change=body.change,
            change_percent=body.change_percent,
            bid=body.bid_price,
            bid_size=body.bid_size,
            ask=body.ask_price,
            ask_size=body.ask_size,
            trades=body.trade_count,
            open_us=_us(body.open_ts_ns),
            close_us=_us(body.close_ts_ns),
            source=source,
            timestamp=timestamp,
            event_us=event_us,
            recv_us=recv_us,
        )
    assert isinstance(body, News), f"{topic.name} cannot carry {type(body).__name__}"
    published = body.published_ts_ns
    return NewsData(
        id=body.id,
        category=body.category,
        headline=body.headline,
        summary=body.summary,
        url=body.url,
        image=body.image,
        symbols=body.symbols,
        publisher=body.publisher,
        published_at=None if published is None else rfc3339(published),
        source=source,
        timestamp=timestamp if published is None else rfc3339(published),
        recv_us=recv_us,
    )


def decimal_text(value: float) -> str:
    """The shortest decimal text that reads back as ``value``: no exponent, no ``.0``.

    What a venue sent as text (up to 15 significant digits) comes out as the same number.
    """
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


_NUMBER_FIELDS: dict[type, tuple[str, ...]] = {
    PriceData: ("price", "change", "change_percent", "volume"),
    QuoteData: ("bid", "bid_size", "ask", "ask_size"),
    TradeData: ("price", "quantity"),
    TickerData: (
        "price", "open", "high", "low", "volume", "quote_volume", "change", "change_percent",
        "bid", "bid_size", "ask", "ask_size",
    ),
}  # fmt: skip


def _text_of(value: Number) -> str:
    return value if isinstance(value, str) else decimal_text(value)


def _with_texts(data: Data) -> Data:
    """The same payload, prices and quantities as decimal text."""
    if isinstance(data, OrderBookData):
        return replace(data, bids=_level_texts(data.bids), asks=_level_texts(data.asks))
    changes = {
        name: _text_of(value)
        for name in _NUMBER_FIELDS.get(type(data), ())
        if (value := getattr(data, name)) is not None
    }
    return replace(data, **changes) if changes else data


def _level_texts(levels: Sequence[tuple[Number, Number]]) -> list[tuple[Number, Number]]:
    return [(_text_of(price), _text_of(size)) for price, size in levels]


def _us(ts_ns: int | None) -> int | UnsetType:
    return UNSET if ts_ns is None else ts_ns // 1000


def _or_unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value
