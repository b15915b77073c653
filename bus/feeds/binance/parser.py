"""Binance spot market streams: one frame's bytes in, one typed event out. Pure.

Source: binance-spot-api-docs, web-socket-streams.md. Every connection is a combined one
(``/stream``), so a market frame is ``{"stream": name, "data": payload}`` and the **stream name**
says what the payload is (``bookTicker`` and partial depth carry no event type of their own).
Control replies are told apart first, by ``result``, ``error`` or ``code``: whether they are
wrapped on a combined connection is not documented.

Numbers come as decimal text and leave as floats, decoded in C, correctly rounded; the text of up
to 15 digits survives. NaN, infinities, negative prices and ids beyond 64 bits are refused here, so
nothing behind this module needs to look. Unknown fields are ignored, their order is free.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from bus.feeds.errors import ParseError

Number = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Signed = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]
Levels = list[tuple[Number, Number]]


class TradeEvent(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"price": "p", "size": "q", "trade_id": "t", "trade_ms": "T", "buyer_is_maker": "m"},
):
    """``<s>@trade``: one buyer, one seller. ``buyer_is_maker``: the aggressor sold."""

    price: Number
    size: Number
    trade_id: Id
    trade_ms: Millis
    buyer_is_maker: bool


class BookTickerEvent(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "update_id": "u",
        "bid_price": "b",
        "bid_size": "B",
        "ask_price": "a",
        "ask_size": "A",
    },
):
    """``<s>@bookTicker``: best bid and ask; carries no time. A price of 0: that side is empty."""

    update_id: Id
    bid_price: Number
    bid_size: Number
    ask_price: Number
    ask_size: Number


class TickerEvent(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "event_ms": "E",
        "change": "p",
        "change_percent": "P",
        "last": "c",
        "open": "o",
        "high": "h",
        "low": "l",
        "volume": "v",
        "quote_volume": "q",
        "bid_price": "b",
        "bid_size": "B",
        "ask_price": "a",
        "ask_size": "A",
        "open_ms": "O",
        "close_ms": "C",
        "trade_count": "n",
        "last_trade_id": "L",
    },
):
    """``<s>@ticker``: figures of the rolling 24 hours (not of the UTC day)."""

    event_ms: Millis
    change: Signed
    change_percent: Signed
    last: Number
    open: Number
    high: Number
    low: Number
    volume: Number
    quote_volume: Number
    bid_price: Number
    bid_size: Number
    ask_price: Number
    ask_size: Number
    open_ms: Millis
    close_ms: Millis
    trade_count: Id
    last_trade_id: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)] = -1
    """Of the window; below 0 where nothing was traded in it."""


class DepthEvent(
    msgspec.Struct,
    rename={"event_ms": "E", "first_id": "U", "last_id": "u", "bids": "b", "asks": "a"},
):
    """``<s>@depth@100ms``: changed levels, absolute sizes, 0 removes. Ids as in ``bus.book.sync``.

    ``recv_ns`` is filled in by the handler: a diff may wait for its snapshot.
    """

    event_ms: Millis
    first_id: Id
    last_id: Id
    bids: Levels
    asks: Levels
    recv_ns: int = 0

    @property
    def venue_ts_ns(self) -> int:
        """The venue's time of the event, ns since 1970."""
        return self.event_ms * 1_000_000


class ShutdownEvent(msgspec.Struct, frozen=True, gc=False, rename={"event_ms": "E"}):
    """``!serverShutdown``: the server is about to close; no lead time is promised."""

    event_ms: Millis


class ControlReply(msgspec.Struct, frozen=True):
    """Answer to a control message; ``code`` is None on success."""

    id: int | str | None
    result: Any
    code: int | None
    message: str


class UnknownEvent(msgspec.Struct, frozen=True):
    """A well-formed frame of a stream or event this feed does not know: counted and dropped."""

    name: str


class DepthSnapshot(msgspec.Struct, frozen=True, rename="camel"):
    """``GET /api/v3/depth``."""

    last_update_id: Id
    bids: Levels
    asks: Levels


class RestTrade(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "trade_id": "id",
        "size": "qty",
        "trade_ms": "time",
        "buyer_is_maker": "isBuyerMaker",
    },
):
    """One item of ``GET /api/v3/trades``."""

    trade_id: Id
    price: Number
    size: Number
    trade_ms: Millis
    buyer_is_maker: bool


Event = (
    TradeEvent
    | BookTickerEvent
    | TickerEvent
    | DepthEvent
    | ShutdownEvent
    | ControlReply
    | UnknownEvent
)

SHUTDOWN_STREAM: Final = "!serverShutdown"

_EVENTS: Final[dict[str, type[Any]]] = {
    "trade": TradeEvent,
    "bookTicker": BookTickerEvent,
    "ticker": TickerEvent,
    "depth": DepthEvent,
    "depth@100ms": DepthEvent,
}


def _decoders() -> dict[str, msgspec.json.Decoder[Any]]:
    wrapped: dict[type[Any], msgspec.json.Decoder[Any]] = {}
    events: set[type[Any]] = {*_EVENTS.values(), ShutdownEvent}
    for event in events:
        wrapper = msgspec.defstruct(f"Wrapped{event.__name__}", [("data", event)])
        wrapped[event] = msgspec.json.Decoder(wrapper, strict=False)
    by_suffix = {suffix: wrapped[event] for suffix, event in _EVENTS.items()}
    by_suffix[SHUTDOWN_STREAM] = wrapped[ShutdownEvent]
    return by_suffix


_DECODERS: Final = _decoders()
_SNAPSHOT: Final = msgspec.json.Decoder(DepthSnapshot, strict=False)
_TRADES: Final = msgspec.json.Decoder(list[RestTrade], strict=False)


class _Envelope(msgspec.Struct, frozen=True):
    """Any frame, far enough to tell what it is."""

    stream: str | None = None
    result: Any | msgspec.UnsetType = msgspec.UNSET
    error: Any | msgspec.UnsetType = msgspec.UNSET
    code: int | msgspec.UnsetType = msgspec.UNSET
    msg: str = ""
    id: int | str | None = None
    e: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_START: Final = b'{"stream":"'
_MAX_CACHED_STREAMS: Final = 8_192


class Parser:
    """Turns frames into ``(stream name, event)``; the name is ``""`` outside a stream.

    Remembers which decoder belongs to a stream name (at most 8,192 names, then starts afresh), so
    that the usual frame costs one look-up and one decoding.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, msgspec.json.Decoder[Any]]] = {}

    def parse(self, frame: bytes) -> tuple[str, Event]:
        """One frame as received. Raises only :class:`~bus.feeds.errors.ParseError`."""
        if frame.startswith(_START):
            known = self._known.get(frame[11 : frame.find(b'"', 11)])
            if known is not None:
                try:
                    event: Event = known[1].decode(frame).data
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise _parse_error(error, frame) from None
                return known[0], event
        return self._parse_unusual(frame)

    def _parse_unusual(self, frame: bytes) -> tuple[str, Event]:
        """Control replies, first frame of a stream, other spellings, and everything unknown."""
        try:
            envelope = _ENVELOPE.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _parse_error(error, frame) from None
        reply = _control_reply(envelope)
        if reply is not None:
            return "", reply
        name = envelope.stream
        if name is None:
            if envelope.e == "serverShutdown":
                return "", ShutdownEvent(event_ms=0)
            return "", UnknownEvent(envelope.e or "no stream name")
        _, _, suffix = name.partition("@")
        decoder = _DECODERS.get(suffix or name)
        if decoder is None:
            return name, UnknownEvent(name)
        try:
            event: Event = decoder.decode(frame).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _parse_error(error, frame) from None
        if len(self._known) >= _MAX_CACHED_STREAMS:
            self._known.clear()
        self._known[name.encode()] = (name, decoder)
        return name, event


def parse_snapshot(body: bytes) -> DepthSnapshot:
    """The answer of ``GET /api/v3/depth``. Raises :class:`~bus.feeds.errors.ParseError`."""
    try:
        return _SNAPSHOT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(error, body) from None


def parse_trades(body: bytes) -> list[RestTrade]:
    """The answer of ``GET /api/v3/trades``, by id, lowest first. Raises ParseError."""
    try:
        return sorted(_TRADES.decode(body), key=lambda trade: trade.trade_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(error, body) from None


def _control_reply(envelope: _Envelope) -> ControlReply | None:
    """Both error shapes seen: ``{"code","msg"}`` and ``{"error":{"code","msg"}}``."""
    if envelope.error is not msgspec.UNSET and envelope.error is not None:
        error = envelope.error if isinstance(envelope.error, dict) else {"msg": envelope.error}
        code = error.get("code")
        message = str(error.get("msg", ""))
        return ControlReply(envelope.id, None, code if isinstance(code, int) else -1, message)
    if envelope.code is not msgspec.UNSET:
        return ControlReply(envelope.id, None, envelope.code, envelope.msg)
    if envelope.result is not msgspec.UNSET:
        return ControlReply(envelope.id, envelope.result, None, "")
    return None


def _parse_error(error: Exception, frame: bytes) -> ParseError:
    reason = "shape" if isinstance(error, msgspec.ValidationError) else "json"
    return ParseError(reason, str(error), frame)
