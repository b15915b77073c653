"""Coinbase's documented payloads, and whatever else a venue may send."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.coinbase.parser import (
    ErrorEvent,
    HeartbeatEvent,
    MatchEvent,
    SnapshotEvent,
    SubscriptionsEvent,
    TickerEvent,
    UnknownEvent,
    UpdateEvent,
    parse,
    parse_trades,
    time_ns,
)
from bus.feeds.errors import ParseError

# docs.cdp.coinbase.com: Exchange WebSocket channels, its own samples
SUBSCRIPTIONS = b'{"type":"subscriptions","channels":[{"name":"level2","product_ids":["ETH-USD","ETH-EUR"]},{"name":"heartbeat","product_ids":["ETH-USD","ETH-EUR"]},{"name":"ticker","product_ids":["ETH-USD","ETH-EUR","ETH-BTC"]}]}'  # noqa: E501
HEARTBEAT = b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}'  # noqa: E501
TICKER = b'{"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79","volume_24h":"245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027","best_bid":"1285.04","best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy","time":"2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}'  # noqa: E501
MATCH = b'{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8","taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}'  # noqa: E501
SNAPSHOT = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],"asks":[["10102.55","0.57753524"]]}'  # noqa: E501
UPDATE = b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","22356.270000","0.00000000"],["buy","22356.300000","1.00000000"]],"time":"2022-08-04T15:25:05.010758Z"}'  # noqa: E501


def test_match() -> None:
    event = parse(MATCH)
    assert event == MatchEvent(
        "match", "BTC-USD", 10, 400.23, 5.23512, "sell", "2014-11-07T08:19:27.028459Z"
    )
    assert not event.is_past


def test_the_first_match_of_a_channel_is_past() -> None:
    event = parse(MATCH.replace(b'"match"', b'"last_match"'))
    assert isinstance(event, MatchEvent)
    assert event.is_past


def test_ticker() -> None:
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    assert (event.price, event.open_24h, event.best_ask_size) == (1285.22, 1310.79, 1.5663704)
    assert event.sequence == 37475248783


def test_a_ticker_may_lack_what_is_not_known() -> None:
    event = parse(b'{"type":"ticker","product_id":"X-USD","price":"1"}')
    assert isinstance(event, TickerEvent)
    assert (event.best_bid, event.time) == (None, None)


def test_heartbeat() -> None:
    assert parse(HEARTBEAT) == HeartbeatEvent("BTC-USD", 90, 20, "2014-11-07T08:19:28.464459Z")


def test_snapshot_and_update() -> None:
    assert parse(SNAPSHOT) == SnapshotEvent(
        "BTC-USD", [(10101.1, 0.4505414)], [(10102.55, 0.57753524)]
    )
    assert parse(UPDATE) == UpdateEvent(
        "BTC-USD",
        [("buy", 22356.27, 0.0), ("buy", 22356.3, 1.0)],
        "2022-08-04T15:25:05.010758Z",
    )


def test_answers() -> None:
    event = parse(SUBSCRIPTIONS)
    assert isinstance(event, SubscriptionsEvent)
    assert len(event.channels) == 3
    assert parse(b'{"type":"error","message":"m","reason":"r"}') == ErrorEvent("m", "r")


def test_unknown_types_are_told_by_name() -> None:
    assert parse(b'{"type":"novelty","product_id":"BTC-USD"}') == UnknownEvent("novelty")


def test_the_order_of_fields_is_free() -> None:
    fields = json.loads(MATCH)
    reordered = json.dumps(dict(reversed(fields.items()))).encode()
    assert parse(reordered) == parse(MATCH)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "json"),
        (b"[]", "shape"),
        (b"{}", "shape"),
        (MATCH[:-5], "json"),
        (MATCH.replace(b'"400.23"', b'"NaN"'), "shape"),
        (MATCH.replace(b'"400.23"', b'"-1"'), "shape"),
        (MATCH.replace(b'"sell"', b'"both"'), "shape"),
        (UPDATE.replace(b'"1.00000000"', b'"inf"'), "shape"),
        (b'{"type":"snapshot","product_id":"X","bids":[["1"]],"asks":[]}', "shape"),
        (b'{"type":"match"\xff}', "json"),
    ],
)
def test_what_is_not_documented_is_refused(frame: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as refused:
        parse(frame)
    assert refused.value.reason == reason


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    for data in (frame, b'{"type":"match",' + frame, b'{"type":"' + frame):
        with contextlib.suppress(ParseError):
            parse(data)


@given(st.integers(0, len(TICKER) - 1), st.binary(min_size=1, max_size=3))
def test_no_damage_to_a_frame_raises_anything_else(place: int, what: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(TICKER[:place] + what + TICKER[place + 1 :])


def test_trades_over_rest() -> None:
    body = (
        b'[{"time":"2014-11-07T22:19:28.578544Z","trade_id":74,"price":"10.00000000",'
        b'"size":"0.01000000","side":"buy"}]'
    )
    (trade,) = parse_trades(body)
    assert (trade.trade_id, trade.price, trade.size, trade.maker_side) == (74, 10.0, 0.01, "buy")
    with pytest.raises(ParseError):
        parse_trades(b'{"message":"NotFound"}')


def test_a_time_that_is_none_is_a_malformed_frame() -> None:
    assert time_ns("1970-01-01T00:00:01Z", "match") == 1_000_000_000
    with pytest.raises(ParseError, match="match: not an RFC 3339 time"):
        time_ns("now", "match")
