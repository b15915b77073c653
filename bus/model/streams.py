"""The streams of the bus: name, kind and body. The one home of this table."""

from __future__ import annotations

from enum import Enum

import msgspec

from bus.model.tick import (
    Body,
    Depth,
    Instrument,
    News,
    OrderBook,
    Price,
    Quote,
    Status,
    Ticker,
    Trade,
)


class StreamKind(Enum):
    """How messages of a stream relate: what may be dropped, and what a late joiner needs."""

    STATE = "state"
    """A newer message replaces an older one; only the last is kept."""
    EVENT = "event"
    """Every message counts; a ring of them is kept for replay."""
    DELTA = "delta"
    """Changes to a state: the last snapshot and every message since are kept."""


class StreamSpec(msgspec.Struct, frozen=True):
    """One stream: ``name`` as in topics, its kind, and the struct of its body."""

    name: str
    kind: StreamKind
    body_type: type[Body]


STREAMS: dict[str, StreamSpec] = {
    spec.name: spec
    for spec in (
        StreamSpec("price", StreamKind.STATE, Price),
        StreamSpec("quote", StreamKind.STATE, Quote),
        StreamSpec("ticker", StreamKind.STATE, Ticker),
        StreamSpec("orderbook", StreamKind.STATE, OrderBook),
        StreamSpec("depth", StreamKind.DELTA, Depth),
        StreamSpec("trades", StreamKind.EVENT, Trade),
        StreamSpec("news", StreamKind.EVENT, News),
        StreamSpec("status", StreamKind.STATE, Status),
        StreamSpec("instrument", StreamKind.STATE, Instrument),
    )
}
