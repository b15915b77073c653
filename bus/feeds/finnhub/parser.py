"""Finnhub's frames and REST bodies: bytes in, typed events out. Pure.

Frames are told apart by ``type``: ``trade`` and ``news`` carry ``data``, ``ping`` is liveness and
is not answered, ``error`` carries ``msg``. In a trade ``v`` 0 means a price update, not a trade.
``c`` (condition codes) may be absent, null, empty or a list; its meaning is not documented, so it
is not looked at, whatever it holds. A trade frame with one unreadable item keeps the others.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from bus.feeds.errors import ParseError

Number = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Signed = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000)]


class TradeItem(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"venue_symbol": "s", "price": "p", "trade_ms": "t", "size": "v"},
):
    """One price. ``size`` 0: a price update that is no trade."""

    venue_symbol: str
    price: Number
    trade_ms: Millis
    size: Number = 0.0


class NewsItem(
    msgspec.Struct,
    frozen=True,
    rename={"id_": "id", "published_s": "datetime", "publisher": "source"},
):
    """One piece of news, as the WebSocket and REST both send it; texts may hold HTML entities."""

    id_: int | str
    published_s: Seconds
    headline: str
    category: str = ""
    image: str | None = None
    related: str | None = None
    publisher: str | None = None
    summary: str | None = None
    url: str | None = None


class Quote(msgspec.Struct, frozen=True, gc=False):
    """``/quote``: current, day's high, low and open, previous close, change, time in s."""

    c: Number
    h: Number | None = None
    l: Number | None = None  # noqa: E741 - the venue's name
    o: Number | None = None
    pc: Number | None = None
    d: Signed | None = None
    dp: Signed | None = None
    t: Seconds | None = None


class MarketStatus(msgspec.Struct, frozen=True, rename="camel"):
    """``/stock/market-status``: ``session`` is pre-market, regular, post-market or null."""

    is_open: bool
    session: str | None = None


class ListedSymbol(msgspec.Struct, frozen=True, rename="camel"):
    """One of ``/stock/symbol``, ``/crypto/symbol``, ``/forex/symbol``; ``currency``: stocks only.

    ``display_symbol`` of a pair is ``BTC/USDT``.
    """

    symbol: str
    display_symbol: str = ""
    currency: str = ""


class TradeFrame(msgspec.Struct, frozen=True, gc=False):
    """Prices of any subscribed symbols, in the venue's order; ``unreadable`` items left out."""

    items: list[TradeItem]
    unreadable: int = 0


class NewsFrame(msgspec.Struct, frozen=True):
    """News from the WebSocket; ``unreadable`` items left out."""

    items: list[NewsItem]
    unreadable: int = 0


class Ping(msgspec.Struct, frozen=True):
    """The venue lives."""


class ErrorEvent(msgspec.Struct, frozen=True):
    """The venue complains; the text names no symbol."""

    message: str


class UnknownEvent(msgspec.Struct, frozen=True):
    """A well-formed frame of a type not known here: counted and dropped."""

    name: str


Event = TradeFrame | NewsFrame | Ping | ErrorEvent | UnknownEvent


class _Envelope(msgspec.Struct, frozen=True):
    type: str
    msg: Any = ""


class _Trades(msgspec.Struct, frozen=True):
    data: list[TradeItem]


class _Items(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_TRADES: Final = msgspec.json.Decoder(_Trades)
_ITEMS: Final = msgspec.json.Decoder(_Items)
_TRADE: Final = msgspec.json.Decoder(TradeItem)
_NEWS_ITEM: Final = msgspec.json.Decoder(NewsItem)
_RAW_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SYMBOLS: Final = msgspec.json.Decoder(list[ListedSymbol])
_QUOTE: Final = msgspec.json.Decoder(Quote)
_MARKET: Final = msgspec.json.Decoder(MarketStatus)

_PING: Final = Ping()
_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse(frame: bytes) -> Event:
    """One frame as received. Raises only :class:`~bus.feeds.errors.ParseError`."""
    try:
        envelope = _ENVELOPE.decode(frame)
        kind = envelope.type
        if kind == "trade":
            return _trades(frame)
        if kind == "news":
            items, unreadable = _each(_ITEMS.decode(frame).data, _NEWS_ITEM)
            return NewsFrame(items, unreadable)
    except _FAULTS as error:
        raise _parse_error(error, frame) from None
    if kind == "ping":
        return _PING
    if kind == "error":
        return ErrorEvent(str(envelope.msg)[:500])
    return UnknownEvent(kind)


def parse_news(body: bytes) -> tuple[list[NewsItem], int]:
    """``/news`` or ``/company-news``: the readable items and the number of others.

    Raises :class:`~bus.feeds.errors.ParseError` when it is no list.
    """
    try:
        return _each(_RAW_LIST.decode(body), _NEWS_ITEM)
    except _FAULTS as error:
        raise _parse_error(error, body) from None


def parse_symbols(body: bytes) -> list[ListedSymbol]:
    """A list of symbols. Raises :class:`~bus.feeds.errors.ParseError`."""
    try:
        return _SYMBOLS.decode(body)
    except _FAULTS as error:
        raise _parse_error(error, body) from None


def parse_quote(body: bytes) -> Quote:
    """``/quote``. Raises :class:`~bus.feeds.errors.ParseError`."""
    try:
        return _QUOTE.decode(body)
    except _FAULTS as error:
        raise _parse_error(error, body) from None


def parse_market_status(body: bytes) -> MarketStatus:
    """``/stock/market-status``. Raises :class:`~bus.feeds.errors.ParseError`."""
    try:
        return _MARKET.decode(body)
    except _FAULTS as error:
        raise _parse_error(error, body) from None


def _trades(frame: bytes) -> TradeFrame:
    try:
        return TradeFrame(_TRADES.decode(frame).data)
    except msgspec.ValidationError:
        items, unreadable = _each(_ITEMS.decode(frame).data, _TRADE)
        return TradeFrame(items, unreadable)


def _each(raw: list[msgspec.Raw], decoder: msgspec.json.Decoder[Any]) -> tuple[list[Any], int]:
    items = []
    for one in raw:
        try:
            items.append(decoder.decode(one))
        except _FAULTS:
            continue
    return items, len(raw) - len(items)


def _parse_error(error: Exception, frame: bytes) -> ParseError:
    reason = "shape" if isinstance(error, msgspec.ValidationError) else "json"
    return ParseError(reason, str(error), frame)
