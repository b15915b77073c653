"""Kraken's documented payloads, and whatever else a venue may send."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.errors import ParseError
from bus.feeds.kraken.parser import (
    BookEvent,
    BookLevel,
    HeartbeatEvent,
    InstrumentEvent,
    MethodReply,
    StatusEvent,
    TickerEvent,
    TradeEvent,
    UnknownEvent,
    parse,
    time_ns,
)

# docs.kraken.com, websocket-v2: its own samples
ACK = b'{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"ALGO/USD"},"success":true,"time_in":"2023-10-06T17:35:55.219022Z","time_out":"2023-10-06T17:35:55.219067Z"}'  # noqa: E501
PONG = b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}'  # noqa: E501
STATUS = b'{"channel":"status","data":[{"api_version":"v2","connection_id":13834774380200032777,"system":"online","version":"2.0.0"}],"type":"update"}'  # noqa: E501
TICKER = b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,"volume":997038.98383185,"vwap":0.10148,"low":0.09979,"high":0.10285,"change":-0.00017,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.742648Z"}]}'  # noqa: E501
TRADE = b'{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}]}'  # noqa: E501
BOOK = b'{"channel":"book","type":"update","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5657,"qty":1098.3947558}],"asks":[],"checksum":2114181697,"timestamp":"2023-10-06T17:35:55.440295Z"}]}'  # noqa: E501
INSTRUMENT = b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,"cost_precision":5,"marginable":true,"has_index":true,"cost_min":0.5,"margin_initial":0.2,"position_limit_long":250,"position_limit_short":200,"tick_size":0.1,"price_increment":0.1,"qty_min":0.0001}]}}'  # noqa: E501


def test_a_book_keeps_every_digit() -> None:
    event = parse(BOOK)
    assert isinstance(event, BookEvent)
    (row,) = event.data
    assert row.bids == [BookLevel(Decimal("0.5657"), Decimal("1098.3947558"))]
    assert (row.checksum, event.type) == (2114181697, "update")
    event = parse(BOOK.replace(b"1098.3947558", b"12345678901.12345678"))
    assert isinstance(event, BookEvent)
    assert event.data[0].bids[0].qty == Decimal("12345678901.12345678")


def test_numbers_may_have_exponents() -> None:
    event = parse(BOOK.replace(b"1098.3947558", b"1e-08"))
    assert isinstance(event, BookEvent)
    assert event.data[0].bids[0].qty == Decimal("0.00000001")


def test_a_snapshot_need_not_have_a_time() -> None:
    frame = b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[],"asks":[],"checksum":0}]}'  # noqa: E501
    event = parse(frame)
    assert isinstance(event, BookEvent)
    assert time_ns(event.data[0].timestamp, "book") is None


def test_trade() -> None:
    event = parse(TRADE)
    assert isinstance(event, TradeEvent)
    (row,) = event.data
    assert (row.side, row.price, row.qty, row.trade_id) == ("sell", 0.5117, 40.0, 4665906)
    assert time_ns(row.timestamp, "trade") == 1695628177_708706000


def test_ticker() -> None:
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    (row,) = event.data
    assert (row.bid, row.ask_qty, row.change, row.change_pct) == (
        0.10025,
        1361.44813783,
        -0.00017,
        -0.17,
    )


def test_status_with_an_id_beyond_63_bits() -> None:
    event = parse(STATUS)
    assert isinstance(event, StatusEvent)
    assert event.system == "online"


def test_instrument() -> None:
    event = parse(INSTRUMENT)
    assert isinstance(event, InstrumentEvent)
    (pair,) = event.data.pairs
    assert (pair.symbol, pair.status, pair.price_precision) == ("BTC/USD", "online", 1)
    assert (pair.base, pair.price_increment, pair.qty_increment) == ("BTC", 0.1, 1e-08)


def test_answers_and_heartbeats() -> None:
    assert parse(ACK) == MethodReply("subscribe")
    assert parse(PONG) == MethodReply("pong", req_id=101)
    refused = b'{"error":"Currency pair not supported NO/PE","method":"subscribe","success":false,"symbol":"NO/PE","req_id":3}'  # noqa: E501
    reply = parse(refused)
    assert reply == MethodReply("subscribe", False, "Currency pair not supported NO/PE", 3, "NO/PE")
    assert parse(b'{"error":"Exceeded msg rate"}') == MethodReply("", False, "Exceeded msg rate")
    assert parse(b'{"channel":"heartbeat"}') == HeartbeatEvent()


def test_unknown_channels_are_told_by_name() -> None:
    assert parse(b'{"channel":"novelty","data":[]}') == UnknownEvent("novelty")
    assert parse(b"{}") == UnknownEvent("no channel")


def test_the_order_of_fields_is_free() -> None:
    reordered = b'{"type":"update","data":[],"channel":"book"}'
    assert parse(reordered) == BookEvent("update", [])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "json"),
        (b"[]", "shape"),
        (TRADE[:-4], "json"),
        (TRADE.replace(b"0.5117", b"-0.5117"), "shape"),
        (TRADE.replace(b"0.5117", b"1e400"), "json"),
        (TRADE.replace(b'"sell"', b'"both"'), "shape"),
        (BOOK.replace(b"2114181697", b"4294967296"), "shape"),
        (BOOK.replace(b'"update"', b'"delta"'), "shape"),
        (INSTRUMENT.replace(b'"price_precision":1', b'"price_precision":19'), "shape"),
        (STATUS.replace(b'{"api', b'["api'), "json"),
        (b'{"channel":"status","data":[]}', "shape"),
        (b'{"channel":"book\xff"}', "json"),
    ],
)
def test_what_is_not_documented_is_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as refused:
        parse(frame)
    assert refused.value.reason in (reason, "shape")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    for data in (frame, b'{"channel":"book",' + frame, b'{"channel":"' + frame):
        with contextlib.suppress(ParseError):
            parse(data)


@given(st.integers(0, len(BOOK) - 1), st.binary(min_size=1, max_size=3))
def test_no_damage_to_a_frame_raises_anything_else(place: int, what: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(BOOK[:place] + what + BOOK[place + 1 :])


def test_a_time_that_is_none_is_a_malformed_frame() -> None:
    with pytest.raises(ParseError, match="trade: not an RFC 3339 time"):
        time_ns("soon", "trade")
