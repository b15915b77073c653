"""The bodies of the nine streams, and the tick that carries one.

Bodies are array-like: encoding lists their fields in order, decoding accepts extra fields at the
end (a newer publisher) and missing optional ones (an older publisher).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bus.model.topic import Topic

Level = tuple[float, float]
"""One price level: (price, size)."""

Side = Literal["buy", "sell"]
FeedState = Literal["live", "connecting", "stale", "recovering", "down", "closed"]


class Price(msgspec.Struct, frozen=True, array_like=True):
    """Last price with its 24-hour change. State.

    ``change`` and ``change_percent`` (in percent, 0.5 = half a percent) are recomputed on every
    trade from the 24 h open; ``volume`` is 24 h base volume. ``None`` where the venue gives none.
    """

    price: float
    change: float | None = None
    change_percent: float | None = None
    volume: float | None = None


class Quote(msgspec.Struct, frozen=True, array_like=True):
    """Top of book. State. ``venue_seq`` is the venue's own update id, if it has one."""

    bid_price: float | None
    bid_size: float | None
    ask_price: float | None
    ask_size: float | None
    venue_seq: int | None = None


class Ticker(msgspec.Struct, frozen=True, array_like=True):
    """Rolling 24-hour figures. State. Times are ns since 1970; ``volume`` is in base units."""

    last: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    change: float | None = None
    change_percent: float | None = None
    volume: float | None = None
    quote_volume: float | None = None
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    trade_count: int | None = None
    open_ts_ns: int | None = None
    close_ts_ns: int | None = None


class OrderBook(msgspec.Struct, frozen=True, array_like=True):
    """The best N levels a side, best first. State. Never crossed."""

    venue_seq: int | None
    bids: list[Level]
    asks: list[Level]


class Depth(msgspec.Struct, frozen=True, array_like=True):
    """Changed levels (absolute sizes, 0 removes), or the whole known book. Delta.

    A delta applies when ``first_venue_seq <= local + 1 <= last_venue_seq``. With ``is_snapshot``
    the levels replace the book, whose position becomes ``last_venue_seq``.
    """

    first_venue_seq: int
    last_venue_seq: int
    bids: list[Level]
    asks: list[Level]
    is_snapshot: bool = False


class Trade(msgspec.Struct, frozen=True, array_like=True):
    """One execution. Event. ``aggressor_side`` is the taker's, ``None`` where unknown."""

    price: float
    size: float
    aggressor_side: Side | None = None
    trade_id: int | str | None = None


class News(msgspec.Struct, frozen=True, array_like=True):
    """One news item. Event, on ``md/news/<venue>/<category>/``. ``id`` is unique per venue."""

    id: str
    headline: str
    summary: str | None
    url: str | None
    image: str | None
    publisher: str | None
    category: str
    symbols: list[str]
    published_ts_ns: int | None = None


class Status(msgspec.Struct, frozen=True, array_like=True):
    """State of a feed, or of one symbol of it. State. ``reason`` is one word, ``detail`` prose."""

    state: FeedState
    reason: str
    since_ts_ns: int
    detail: str | None = None


class Instrument(msgspec.Struct, frozen=True, array_like=True):
    """What the venue says about one instrument. State. ``None`` where the venue does not say.

    ``base`` and ``quote`` are what is traded and what it is priced in (``BTC``, ``USDT``);
    ``kind``: ``spot`` or ``stock``; ``status``: ``trading``, ``halted``, ``closed``, or another
    lower-case word of the venue's, to be read as not trading. Prices are multiples of
    ``tick_size``, sizes of ``lot_size``, in units of ``quote`` and ``base``; ``min_size`` is in
    ``base``, ``min_notional`` (price times size) in ``quote``.
    """

    base: str | None = None
    quote: str | None = None
    kind: str | None = None
    status: str | None = None
    venue_symbol: str | None = None
    tick_size: float | None = None
    lot_size: float | None = None
    min_size: float | None = None
    min_notional: float | None = None


Body = Price | Quote | Ticker | OrderBook | Depth | Trade | News | Status | Instrument


class Tick(msgspec.Struct, frozen=True):
    """One message of the bus, decoded.

    ``(epoch, seq)`` only grows on one topic, also across restarts of its publisher: comparing the
    pairs says which of two ticks is newer. ``epoch`` is the publisher's start in ms since 1970,
    ``seq`` counts from 1 within it. Times are ns since 1970: the venue's (``None`` where the venue
    gives none), when the feed received the bytes, when it published.
    """

    topic: Topic
    epoch: int
    seq: int
    venue_ts_ns: int | None
    recv_ts_ns: int
    pub_ts_ns: int
    body: Body
