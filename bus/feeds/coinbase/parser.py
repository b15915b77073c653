"""Coinbase Exchange's WebSocket feed: one frame's bytes in, one typed event out. Pure.

Source: docs.cdp.coinbase.com, Exchange WebSocket channels. Every frame is an object with a
``type``. ``match.side`` is the side of the **maker**: the aggressor took the other one.

Numbers come as decimal text and leave as floats, decoded in C, correctly rounded; the text of up
to 15 digits survives, and two spellings of a price (``22356.27``, ``22356.270000``) are one.
NaN, infinities and negative prices are refused here. Unknown types are counted and dropped, as the
venue asks for; unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from bus.feeds.errors import ParseError
from bus.feeds.venue_time import rfc3339_ns

Number = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Levels = list[tuple[Number, Number]]
Side = Literal["buy", "sell"]


class MatchEvent(msgspec.Struct, frozen=True, gc=False, rename={"maker_side": "side"}):
    """``match``, and ``last_match`` which begins the channel: one fill."""

    type: str
    product_id: str
    trade_id: Id
    price: Number
    size: Number
    maker_side: Side
    time: str

    @property
    def is_past(self) -> bool:
        """Whether it happened before the subscription."""
        return self.type == "last_match"


class TickerEvent(msgspec.Struct, frozen=True, gc=False):
    """``ticker``: after a match. 24-hour figures are of the rolling day."""

    product_id: str
    price: Number
    sequence: Id = 0
    open_24h: Number | None = None
    high_24h: Number | None = None
    low_24h: Number | None = None
    volume_24h: Number | None = None
    best_bid: Number | None = None
    best_bid_size: Number | None = None
    best_ask: Number | None = None
    best_ask_size: Number | None = None
    time: str | None = None


class HeartbeatEvent(msgspec.Struct, frozen=True, gc=False):
    """``heartbeat``: once a second for each product."""

    product_id: str
    sequence: Id
    last_trade_id: Id
    time: str


class SnapshotEvent(msgspec.Struct, frozen=True):
    """``snapshot``: the whole book."""

    product_id: str
    bids: Levels
    asks: Levels


class UpdateEvent(msgspec.Struct, frozen=True):
    """``l2update``: side, price and new size of what changed; size 0 removes."""

    product_id: str
    changes: list[tuple[Side, Number, Number]]
    time: str | None = None


class SubscriptionsEvent(msgspec.Struct, frozen=True):
    """``subscriptions``: the answer to every request, telling the whole state."""

    channels: list[Any]


class ErrorEvent(msgspec.Struct, frozen=True):
    """``error``: a request was refused, whole."""

    message: str = ""
    reason: str = ""


class UnknownEvent(msgspec.Struct, frozen=True):
    """A well-formed frame of a type this feed does not know: counted and dropped."""

    name: str


class RestTrade(msgspec.Struct, frozen=True, gc=False, rename={"maker_side": "side"}):
    """One item of ``GET /products/{id}/trades``; ``side`` is the maker's here too."""

    trade_id: Id
    price: Number
    size: Number
    maker_side: Side
    time: str


Event = (
    MatchEvent
    | TickerEvent
    | HeartbeatEvent
    | SnapshotEvent
    | UpdateEvent
    | SubscriptionsEvent
    | ErrorEvent
    | UnknownEvent
)

_TYPES: Final[dict[str, type[Any]]] = {
    "match": MatchEvent,
    "last_match": MatchEvent,
    "ticker": TickerEvent,
    "heartbeat": HeartbeatEvent,
    "snapshot": SnapshotEvent,
    "l2update": UpdateEvent,
    "subscriptions": SubscriptionsEvent,
    "error": ErrorEvent,
}
_DECODERS: Final = {
    name: msgspec.json.Decoder(event, strict=False) for name, event in _TYPES.items()
}
_BY_START: Final = {name.encode(): decoder for name, decoder in _DECODERS.items()}


class _Envelope(msgspec.Struct, frozen=True):
    """Any frame, far enough to tell what it is."""

    type: str


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_REST_TRADES: Final = msgspec.json.Decoder(list[RestTrade], strict=False)
_START: Final = b'{"type":"'


def parse(frame: bytes) -> Event:
    """One frame as received. Raises only :class:`~bus.feeds.errors.ParseError`."""
    decoder = None
    if frame.startswith(_START):  # as the venue writes it: no need to look for the type
        decoder = _BY_START.get(frame[9 : frame.find(b'"', 9)])
    try:
        if decoder is None:
            name = _ENVELOPE.decode(frame).type
            decoder = _DECODERS.get(name)
            if decoder is None:
                return UnknownEvent(name)
        event: Event = decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(error, frame) from None
    return event


def parse_trades(body: bytes) -> list[RestTrade]:
    """The answer of ``GET /products/{id}/trades``, newest first. Raises ParseError."""
    try:
        return _REST_TRADES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _parse_error(error, body) from None


def time_ns(text: str, frame: str) -> int:
    """A venue time. Raises ParseError; ``frame`` says where it stood."""
    try:
        return rfc3339_ns(text)
    except ValueError as error:
        raise ParseError("time", f"{frame}: {error}", text.encode()) from None


def _parse_error(error: Exception, frame: bytes) -> ParseError:
    reason = "shape" if isinstance(error, msgspec.ValidationError) else "json"
    return ParseError(reason, str(error), frame)
