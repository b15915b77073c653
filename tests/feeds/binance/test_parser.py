"""The documented payloads come out as documented; nothing else is raised but ParseError."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.binance.parser import (
    BookTickerEvent,
    ControlReply,
    DepthEvent,
    DepthSnapshot,
    Parser,
    RestTrade,
    ShutdownEvent,
    TickerEvent,
    TradeEvent,
    UnknownEvent,
    parse_snapshot,
    parse_trades,
)
from bus.feeds.errors import ParseError

# binance-spot-api-docs: web-socket-streams.md and rest-api.md, the documents' own examples
TRADE = b'{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}'  # noqa: E501
BOOK_TICKER = b'{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}'  # noqa: E501
TICKER = b'{"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018","x":"0.0009","c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":86400000,"F":0,"L":18150,"n":18151}'  # noqa: E501
DEPTH = b'{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}'  # noqa: E501
SNAPSHOT = b'{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}'  # noqa: E501
KNOWN = {
    "bnbbtc@trade": TRADE,
    "bnbusdt@bookTicker": BOOK_TICKER,
    "bnbbtc@ticker": TICKER,
    "bnbbtc@depth": DEPTH,
    "bnbbtc@depth@100ms": DEPTH,
}
UNUSED = {
    "bnbbtc@aggTrade": b'{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true,"M":true}',  # noqa: E501
    "bnbbtc@blockTrade": b'{"e":"blockTrade","E":1772506983582,"s":"BNBBTC","t":582,"p":"0.052","q":"5838","T":1772506983321,"m":true}',  # noqa: E501
    "bnbbtc@depth5": b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}',
    "!miniTicker@arr": b'[{"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025","l":"0.0010","v":"10000","q":"18"}]',  # noqa: E501
    "bazusd@referencePrice": b'{"e":"referencePrice","s":"BAZUSD","r":"1.00","t":1770313263917}',
}


def wrapped(stream: str, data: bytes) -> bytes:
    return b'{"stream":"' + stream.encode() + b'","data":' + data + b"}"


def changed(data: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(data), **fields}).encode()


def test_trade() -> None:
    stream, event = Parser().parse(wrapped("bnbbtc@trade", TRADE))
    assert stream == "bnbbtc@trade"
    assert event == TradeEvent(0.001, 100.0, 12345, 1672515782136, True)


def test_book_ticker() -> None:
    _, event = Parser().parse(wrapped("bnbusdt@bookTicker", BOOK_TICKER))
    assert event == BookTickerEvent(400900217, 25.3519, 31.21, 25.3652, 40.66)


def test_ticker() -> None:
    _, event = Parser().parse(wrapped("bnbbtc@ticker", TICKER))
    assert isinstance(event, TickerEvent)
    assert (event.last, event.open, event.high, event.low) == (0.0025, 0.0010, 0.0025, 0.0010)
    assert (event.change, event.change_percent) == (0.0015, 250.0)
    assert (event.volume, event.quote_volume, event.trade_count) == (10000.0, 18.0, 18151)
    assert (event.open_ms, event.close_ms) == (0, 86400000)


def test_a_falling_ticker_has_negative_changes() -> None:
    _, event = Parser().parse(wrapped("bnbbtc@ticker", changed(TICKER, p="-1.5", P="-2.25")))
    assert isinstance(event, TickerEvent)
    assert (event.change, event.change_percent) == (-1.5, -2.25)


def test_depth() -> None:
    _, event = Parser().parse(wrapped("bnbbtc@depth@100ms", DEPTH))
    assert isinstance(event, DepthEvent)
    assert (event.first_id, event.last_id) == (157, 160)
    assert (event.bids, event.asks) == ([(0.0024, 10.0)], [(0.0026, 100.0)])
    assert event.venue_ts_ns == 1672515782136 * 1_000_000


def test_snapshot() -> None:
    assert parse_snapshot(SNAPSHOT) == DepthSnapshot(1027024, [(4.0, 431.0)], [(4.000002, 12.0)])


@pytest.mark.parametrize("stream", KNOWN)
def test_every_spelling_of_a_frame_is_read_alike(stream: str) -> None:
    """Spaces, the order of the fields and unknown fields mean nothing."""
    parser = Parser()
    plain = parser.parse(wrapped(stream, KNOWN[stream]))
    data = json.loads(KNOWN[stream])
    odd = json.dumps(
        {"x": 1, "data": {"new": None, **dict(reversed(data.items()))}, "stream": stream}
    )
    assert parser.parse(odd.encode()) == plain
    assert parser.parse(wrapped(stream, KNOWN[stream])) == plain  # now from the cache


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (b'{"result":null,"id":1}', ControlReply(1, None, None, "")),
        (
            b'{"result":["btcusdt@aggTrade"],"id":3}',
            ControlReply(3, ["btcusdt@aggTrade"], None, ""),
        ),
        (b'{"result":true,"id":"x9"}', ControlReply("x9", True, None, "")),
        (
            b'{"code":3,"msg":"Invalid JSON: expected value at line 1 column 2"}',
            ControlReply(None, None, 3, "Invalid JSON: expected value at line 1 column 2"),
        ),
        (
            b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}',
            ControlReply(1, None, 4, "Too many subscriptions"),
        ),
        (b'{"error":"odd","id":1}', ControlReply(1, None, -1, "odd")),
        (b'{"stream":"btcusdt@trade","result":null,"id":7}', ControlReply(7, None, None, "")),
    ],
)
def test_control_replies_come_first(frame: bytes, reply: ControlReply) -> None:
    assert Parser().parse(frame) == ("", reply)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_the_shutdown_notice_in_both_shapes(frame: bytes) -> None:
    assert isinstance(Parser().parse(frame)[1], ShutdownEvent)


@pytest.mark.parametrize("stream", UNUSED)
def test_streams_not_used_here_are_unknown_events(stream: str) -> None:
    assert Parser().parse(wrapped(stream, UNUSED[stream])) == (stream, UnknownEvent(stream))


def test_a_raw_payload_without_its_wrapper_is_unknown() -> None:
    assert Parser().parse(TRADE) == ("", UnknownEvent("trade"))
    assert isinstance(Parser().parse(BOOK_TICKER)[1], UnknownEvent)


@pytest.mark.parametrize(
    "bad",
    [
        changed(TRADE, p="nan"),
        changed(TRADE, p="inf"),
        changed(TRADE, p="-1"),
        changed(TRADE, p="1e400"),
        changed(TRADE, p=None),
        changed(TRADE, p="12,5"),
        changed(TRADE, t=2**64),
        changed(TRADE, T=10**18),
        changed(TRADE, m="perhaps"),
        b"[]",
        b"null",
        b"{",
        b"",
    ],
)
def test_numbers_that_are_none_are_refused(bad: bytes) -> None:
    parser = Parser()
    parser.parse(wrapped("bnbbtc@trade", TRADE))
    with pytest.raises(ParseError):
        parser.parse(wrapped("bnbbtc@trade", bad))
    with pytest.raises(ParseError):
        Parser().parse(wrapped("bnbbtc@trade", bad))


@pytest.mark.parametrize(
    "levels", [[["1", "2", "3"]], [["1"]], [[None, "1"]], [["1", "nan"]], "none", [["1", "-2"]]]
)
def test_levels_that_are_none_are_refused(levels: object) -> None:
    with pytest.raises(ParseError) as caught:
        Parser().parse(wrapped("bnbbtc@depth@100ms", changed(DEPTH, b=levels)))
    assert caught.value.reason == "shape"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(frame: bytes) -> None:
    parser = Parser()
    for candidate in (frame, wrapped("bnbbtc@trade", frame), b'{"stream":"' + frame):
        with suppress(ParseError):
            parser.parse(candidate)
    with suppress(ParseError):
        parse_snapshot(frame)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("epqtTmbaBAuUEscohlvnOCPstreamdataresultcodeid"), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(sorted(KNOWN)),
    JSON,
    st.dictionaries(
        st.sampled_from(["result", "code", "error", "id", "stream", "data"]), JSON, max_size=4
    ),
)
def test_arbitrary_json_raises_nothing_else(
    stream: str, data: object, extra: dict[str, object]
) -> None:
    parser = Parser()
    parser.parse(wrapped(stream, KNOWN[stream]))
    for candidate in (
        {"stream": stream, "data": data},
        {"stream": stream, "data": data, **extra},
        extra,
    ):
        with suppress(ParseError):
            parser.parse(msgspec.json.encode(candidate))


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_damaged_frames_raise_nothing_else(stream: str, data: st.DataObject) -> None:
    frame = bytearray(wrapped(stream, KNOWN[stream]))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ParseError):
        Parser().parse(bytes(frame))


def test_deep_nesting_raises_nothing_else() -> None:
    with pytest.raises(ParseError):
        Parser().parse(b'{"stream":"a@trade","data":' + b"[" * 100_000)


def test_stream_names_a_venue_makes_up_do_not_grow_the_parser() -> None:
    parser = Parser()
    for number in range(10_000):
        parser.parse(wrapped(f"s{number}@trade", TRADE))
    assert len(parser._known) <= 8_192


def test_the_last_trades_are_read_by_id() -> None:
    """The example of rest-api.md, and one before it."""
    body = (
        b'[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",'
        b'"time":1499865549590,"isBuyerMaker":true,"isBestMatch":true},'
        b'{"id":28456,"price":"4","qty":"1","time":1499865549580,"isBuyerMaker":false}]'
    )
    assert parse_trades(body) == [
        RestTrade(28_456, 4.0, 1.0, 1_499_865_549_580, False),
        RestTrade(28_457, 4.000001, 12.0, 1_499_865_549_590, True),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"id":-1}]', b'[{"id":1,"price":"NaN"}]'])
def test_a_list_of_trades_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_trades(body)
