"""Kraken WebSocket v2: one frame's bytes in, one typed event out. Pure.

Source: docs.kraken.com, websocket-v2. A frame has a ``channel``, or is the answer to a ``method``.
Numbers are JSON numbers in full precision, in exponent form too: those of books are kept as exact
decimals (their checksum needs every digit), the others as floats. NaN, infinities and negative
prices are refused. Unknown channels are counted and dropped; unknown fields are ignored.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from bus.feeds.errors import ParseError
from bus.feeds.venue_time import rfc3339_ns

Number = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Signed = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Precision = Annotated[int, msgspec.Meta(ge=0, le=18)]
Crc = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class BookLevel(msgspec.Struct, frozen=True, gc=False):
    """One entry; quantity 0 removes."""

    price: Decimal
    qty: Decimal


class BookRow(msgspec.Struct, frozen=True):
    """One pair's snapshot or update."""

    symbol: str
    bids: list[BookLevel]
    asks: list[BookLevel]
    checksum: Crc | None = None
    timestamp: str | None = None


class BookEvent(msgspec.Struct, frozen=True):
    """``book``."""

    type: Literal["snapshot", "update"]
    data: list[BookRow]


class TradeRow(msgspec.Struct, frozen=True, gc=False):
    """One fill; ``side`` is the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Number
    qty: Number
    trade_id: Id
    timestamp: str


class TradeEvent(msgspec.Struct, frozen=True):
    """``trade``: one or more fills."""

    type: Literal["snapshot", "update"]
    data: list[TradeRow]


class TickerRow(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask, and 24-hour figures (``volume`` in base units)."""

    symbol: str
    bid: Number | None = None
    bid_qty: Number | None = None
    ask: Number | None = None
    ask_qty: Number | None = None
    last: Number | None = None
    volume: Number | None = None
    vwap: Number | None = None
    low: Number | None = None
    high: Number | None = None
    change: Signed | None = None
    change_pct: Signed | None = None
    timestamp: str | None = None


class TickerEvent(msgspec.Struct, frozen=True):
    """``ticker``."""

    data: list[TickerRow]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of ``instrument``; ``qty_min`` is in ``base``, ``cost_min`` in ``quote``."""

    symbol: str
    status: str
    price_precision: Precision
    qty_precision: Precision
    base: str | None = None
    quote: str | None = None
    price_increment: Number | None = None
    qty_increment: Number | None = None
    qty_min: Number | None = None
    cost_min: Number | None = None


class _Instruments(msgspec.Struct, frozen=True):
    pairs: list[Pair] = []


class InstrumentEvent(msgspec.Struct, frozen=True):
    """``instrument``: all pairs, then those that change."""

    type: Literal["snapshot", "update"]
    data: _Instruments


class _System(msgspec.Struct, frozen=True):
    system: str


class StatusEvent(msgspec.Struct, frozen=True):
    """``status``: the state of the matching engine."""

    data: Annotated[list[_System], msgspec.Meta(min_length=1)]

    @property
    def system(self) -> str:
        """``online``, ``cancel_only``, ``maintenance`` or ``post_only``."""
        return self.data[-1].system


class HeartbeatEvent(msgspec.Struct, frozen=True):
    """``heartbeat``: nothing else to say."""


class MethodReply(msgspec.Struct, frozen=True):
    """The answer to a request, for one pair."""

    method: str
    success: bool = True
    error: str = ""
    req_id: int | None = None
    symbol: str | None = None


class UnknownEvent(msgspec.Struct, frozen=True):
    """A well-formed frame of a channel this feed does not know: counted and dropped."""

    name: str


Event = (
    BookEvent
    | TradeEvent
    | TickerEvent
    | InstrumentEvent
    | StatusEvent
    | HeartbeatEvent
    | MethodReply
    | UnknownEvent
)

_CHANNELS: Final[dict[str, type[Any]]] = {
    "book": BookEvent,
    "trade": TradeEvent,
    "ticker": TickerEvent,
    "instrument": InstrumentEvent,
    "status": StatusEvent,
    "heartbeat": HeartbeatEvent,
}
_DECODERS: Final = {name: msgspec.json.Decoder(event) for name, event in _CHANNELS.items()}
_BY_START: Final = {name.encode(): decoder for name, decoder in _DECODERS.items()}


class _Envelope(msgspec.Struct, frozen=True):
    """Any frame, far enough to tell what it is."""

    channel: str | None = None
    method: str | None = None
    error: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_REPLY: Final = msgspec.json.Decoder(MethodReply)
_START: Final = b'{"channel":"'


def parse(frame: bytes) -> Event:
    """One frame as received. Raises only :class:`~bus.feeds.errors.ParseError`."""
    try:
        if frame.startswith(_START):  # as the venue writes it: no need to look for the channel
            decoder = _BY_START.get(frame[12 : frame.find(b'"', 12)])
            if decoder is not None:
                event: Event = decoder.decode(frame)
                return event
        return _parse_unusual(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "shape" if isinstance(error, msgspec.ValidationError) else "json"
        raise ParseError(reason, str(error), frame) from None


def time_ns(text: str | None, frame: str) -> int | None:
    """A venue time, where there is one. Raises ParseError; ``frame`` says where it stood."""
    if text is None:
        return None
    try:
        return rfc3339_ns(text)
    except ValueError as error:
        raise ParseError("time", f"{frame}: {error}", text.encode()) from None


def _parse_unusual(frame: bytes) -> Event:
    """Answers, other spellings, and everything unknown."""
    envelope = _ENVELOPE.decode(frame)
    if envelope.method is not None:
        return _REPLY.decode(frame)
    decoder = _DECODERS.get(envelope.channel or "")
    if decoder is not None:
        event: Event = decoder.decode(frame)
        return event
    if envelope.error is not None:
        return MethodReply("", False, envelope.error)
    return UnknownEvent(envelope.channel or "no channel")
