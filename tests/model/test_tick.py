"""Ticks are immutable values whose field order is the wire order."""

from __future__ import annotations

import msgspec
import pytest

from bus.model import STREAMS, Depth, Instrument, OrderBook, Price, Quote, Status, Ticker, Trade
from bus.model.tick import News

WIRE_ORDER: dict[type[msgspec.Struct], str] = {
    Price: "price change change_percent volume",
    Quote: "bid_price bid_size ask_price ask_size venue_seq",
    Ticker: "last open high low change change_percent volume quote_volume bid_price bid_size "
    "ask_price ask_size trade_count open_ts_ns close_ts_ns",
    OrderBook: "venue_seq bids asks",
    Depth: "first_venue_seq last_venue_seq bids asks is_snapshot",
    Trade: "price size aggressor_side trade_id",
    News: "id headline summary url image publisher category symbols published_ts_ns",
    Status: "state reason since_ts_ns detail",
    Instrument: "base quote kind status venue_symbol tick_size lot_size min_size min_notional",
}


@pytest.mark.parametrize("body_type", WIRE_ORDER, ids=lambda kind: kind.__name__)
def test_the_wire_order_of_a_published_schema_never_changes(body_type: type) -> None:
    """Schema 1 is published: fields may be appended to this table, never moved or removed."""
    assert " ".join(body_type.__struct_fields__) == WIRE_ORDER[body_type]  # type: ignore[attr-defined]


def test_every_body_is_in_the_table() -> None:
    assert {spec.body_type for spec in STREAMS.values()} == set(WIRE_ORDER)


def test_a_body_cannot_be_changed() -> None:
    trade = Trade(1.0, 2.0)
    with pytest.raises(AttributeError):
        trade.price = 3.0  # type: ignore[misc]
