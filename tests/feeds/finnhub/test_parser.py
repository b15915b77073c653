"""Documented and recorded shapes are read; nothing else is raised but ParseError."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.errors import ParseError
from bus.feeds.finnhub.parser import (
    ErrorEvent,
    MarketStatus,
    NewsFrame,
    NewsItem,
    Ping,
    Quote,
    TradeFrame,
    TradeItem,
    UnknownEvent,
    parse,
    parse_market_status,
    parse_news,
    parse_quote,
)

# Finnhub's own documentation (swagger.json) and frames seen by its users
TRADE = (
    b'{"data":[{"p":7296.89,"s":"BINANCE:BTCUSDT","t":1575526691134,"v":0.011467}],"type":"trade"}'
)
TWO = b'{"data":[{"c":["1","8","24","12"],"p":122.1,"s":"TSLA","t":1672348887195,"v":1},{"c":["1","24","12"],"p":129.58,"s":"AAPL","t":1672348887666,"v":1}],"type":"trade"}'  # noqa: E501
NEWS = b'{"data":[{"category":"company","datetime":1679920200,"headline":"CanAlaska &amp; Co","id":119440189,"image":"https://media.zenfs.com/x","related":"CVVUF","source":"Yahoo","summary":"Multiple Priority Targets","url":"https://finance.yahoo.com/x"}],"type":"news"}'  # noqa: E501
REST_NEWS = b'[{"category":"technology","datetime":1596589501,"headline":"Square surges","id":5085164,"image":"https://image.cnbcfm.com/x.jpg","related":"","source":"CNBC","summary":"Shares of Square soared","url":"https://www.cnbc.com/x.html"}]'  # noqa: E501
QUOTE = b'{"c":261.74,"h":263.31,"l":260.68,"o":261.07,"pc":259.45,"t":1582641000}'


def test_the_documented_trade() -> None:
    assert parse(TRADE) == TradeFrame(
        [TradeItem("BINANCE:BTCUSDT", 7296.89, 1575526691134, 0.011467)]
    )


def test_several_symbols_in_one_frame_keep_their_order() -> None:
    frame = parse(TWO)
    assert isinstance(frame, TradeFrame)
    assert [item.venue_symbol for item in frame.items] == ["TSLA", "AAPL"]


@pytest.mark.parametrize("conditions", [None, [], ["1", "12"], "odd", [None], 7])
def test_conditions_may_hold_anything(conditions: object) -> None:
    item = {"p": 1.5, "s": "AAPL", "t": 1, "v": 2, "c": conditions}
    frame = json.dumps({"type": "trade", "data": [item]}).encode()
    assert parse(frame) == TradeFrame([TradeItem("AAPL", 1.5, 1, 2.0)])


def test_one_unreadable_trade_does_not_spoil_the_frame() -> None:
    items = [{"p": None, "s": "AAPL", "t": 1, "v": 2}, {"p": 1.5, "s": "AAPL", "t": 1, "v": 0}, 5]
    frame = json.dumps({"type": "trade", "data": items}).encode()
    assert parse(frame) == TradeFrame([TradeItem("AAPL", 1.5, 1, 0.0)], unreadable=2)


def test_a_ping_and_a_complaint() -> None:
    assert parse(b'{"type":"ping"}') == Ping()
    complaint = parse(b'{"msg":"Subscribing to too many symbols","type":"error"}')
    assert complaint == ErrorEvent("Subscribing to too many symbols")
    assert parse(b'{"type":"error"}') == ErrorEvent("")


def test_other_types_are_unknown() -> None:
    assert parse(b'{"type":"pr","data":[]}') == UnknownEvent("pr")


def test_news_from_the_stream() -> None:
    frame = parse(NEWS)
    assert isinstance(frame, NewsFrame)
    assert (frame.items[0].id_, frame.items[0].category) == (119440189, "company")


def test_news_from_rest_keeps_its_readable_items() -> None:
    items, unreadable = parse_news(REST_NEWS)
    assert [item.id_ for item in items] == [5085164]
    assert unreadable == 0
    spoilt = json.dumps([*json.loads(REST_NEWS), {"id": 1}, None]).encode()
    assert parse_news(spoilt) == (items, 2)
    assert items[0] == NewsItem(
        5085164, 1596589501, "Square surges", "technology", "https://image.cnbcfm.com/x.jpg", "",
        "CNBC", "Shares of Square soared", "https://www.cnbc.com/x.html",
    )  # fmt: skip


def test_a_quote_with_and_without_its_changes() -> None:
    assert parse_quote(QUOTE) == Quote(
        261.74, 263.31, 260.68, 261.07, 259.45, None, None, 1582641000
    )
    assert parse_quote(b'{"c":1,"d":null,"dp":-0.5}').dp == -0.5


def test_the_markets_hours() -> None:
    assert parse_market_status(b'{"exchange":"US","isOpen":false,"session":null}') == MarketStatus(
        False, None
    )
    assert parse_market_status(b'{"isOpen":true,"session":"regular"}').is_open


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"[]",
        b"{}",
        b'{"type":7}',
        b'{"type":"trade"}',
        b'{"type":"trade","data":null}',
        b'{"type":"trade","data":[{]}',
        b'{"type":"news","data":{}}',
        b"\xff\xfe",
        b'{"type":"trade","data":' + b"[" * 50_000,
    ],
)
def test_frames_of_no_use_are_parse_errors(frame: bytes) -> None:
    with pytest.raises(ParseError):
        parse(frame)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    for read in (parse, parse_news, parse_quote, parse_market_status):
        with suppress(ParseError):
            read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*"psvtcdhlo", "id", "headline", "datetime"]), inner, max_size=5
        )
    ),
    max_leaves=10,
)


@given(st.sampled_from(["trade", "news", "error", "ping", "x"]), JSON)
def test_arbitrary_json_raises_nothing_else(kind: str, data: object) -> None:
    frame = msgspec.json.encode({"type": kind, "data": data, "msg": data})
    with suppress(ParseError):
        parse(frame)


@given(st.floats(0, 1e15), st.floats(0, 1e15))
def test_numbers_are_read_as_python_reads_them(price: float, size: float) -> None:
    item = f'{{"p":{price!r},"s":"A","t":1,"v":{size!r}}}'
    frame = parse(f'{{"type":"trade","data":[{item}]}}'.encode())
    assert frame == TradeFrame([TradeItem("A", price, 1, size)])
