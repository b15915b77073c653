"""The bus payload: identity, typed errors, numbers that survive."""

from __future__ import annotations

import gzip
import json
import math
import re
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.errors import PayloadError, WireError
from bus.model import (
    STREAMS,
    Body,
    Depth,
    Instrument,
    News,
    OrderBook,
    Price,
    Quote,
    Status,
    Tick,
    Ticker,
    Trade,
)
from bus.model.topic import Topic
from bus.wire import codec

numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
maybe = st.none() | numbers
levels = st.lists(st.tuples(numbers, numbers), max_size=20)
uint = st.integers(0, 2**63 - 1)
text = st.text(max_size=50)

bodies: dict[str, st.SearchStrategy[Body]] = {
    "price": st.builds(Price, numbers, maybe, maybe, maybe),
    "quote": st.builds(Quote, maybe, maybe, maybe, maybe, st.none() | uint),
    "ticker": st.builds(Ticker, numbers, *[maybe] * 11, *[st.none() | uint] * 3),
    "orderbook": st.builds(OrderBook, st.none() | uint, levels, levels),
    "depth": st.builds(Depth, uint, uint, levels, levels, st.booleans()),
    "trades": st.builds(
        Trade, numbers, numbers, st.sampled_from(["buy", "sell", None]), st.none() | uint | text
    ),
    "news": st.builds(
        News,
        text,
        text,
        *[st.none() | text] * 4,
        text,
        st.lists(text, max_size=3),
        st.none() | uint,
    ),
    "status": st.builds(
        Status,
        st.sampled_from(["live", "connecting", "stale", "recovering", "down", "closed"]),
        text,
        uint,
        st.none() | text,
    ),
    "instrument": st.builds(Instrument, *[st.none() | text] * 5, *[maybe] * 4),
}


def topic_of(stream: str) -> Topic:
    return Topic.status("binance") if stream == "status" else Topic.md(stream, "sim", "BTC-USDT")


def test_every_stream_has_a_strategy() -> None:
    assert set(bodies) == set(STREAMS)


@given(data=st.data(), stream=st.sampled_from(sorted(STREAMS)), epoch=uint, seq=uint)
def test_decoding_gives_back_what_was_encoded(
    data: st.DataObject, stream: str, epoch: int, seq: int
) -> None:
    body = data.draw(bodies[stream])
    venue_ts_ns = data.draw(st.none() | uint)
    topic = topic_of(stream)
    frame = codec.encode_frame(topic.key, epoch, seq, venue_ts_ns, 2, 3, body)
    tick = codec.decode_frame(frame)
    assert (tick.topic, tick.epoch, tick.seq) == (topic, epoch, seq)
    assert (tick.venue_ts_ns, tick.recv_ts_ns, tick.pub_ts_ns) == (venue_ts_ns, 2, 3)
    assert tick.body == body
    assert type(tick.body) is STREAMS[stream].body_type
    key, payload = codec.split(frame)
    assert (key, codec.position(payload)) == (topic.key, (epoch, seq))


@given(st.binary(max_size=300))
@example(b"")
@example(b"\0")
@example(b"md/trades/sim/BTC-USDT/\0")
@example(b"md/trades/sim/BTC-USDT/\0\xc1")
@example(b"md/trades/sim/BTC-USDT/\0\xdf\xff\xff\xff\xff")
def test_arbitrary_bytes_raise_wire_errors_only(frame: bytes) -> None:
    with pytest.raises(WireError):
        codec.decode_frame(frame)
    # Either a position or a typed error, never anything else.
    try:
        codec.position(frame)
    except PayloadError:
        return


@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    stream=st.sampled_from(sorted(STREAMS)),
)
def test_arbitrary_msgpack_decodes_or_raises_wire_errors(payload: object, stream: str) -> None:
    frame = topic_of(stream).key + b"\0" + msgpack.packb(payload)
    try:
        tick = codec.decode_frame(frame)
    except WireError:
        return
    assert type(tick.body) is STREAMS[stream].body_type


@given(
    fields=st.tuples(
        st.integers(0, 3),
        st.integers(-1, 2**64 - 1),
        st.integers(-1, 2**63),
        st.none() | st.integers(-5, 2**63) | st.text(max_size=1),
        st.integers(-1, 2**63) | st.floats(),
        st.integers(-1, 2**63),
    ),
    body=st.lists(
        st.none()
        | st.booleans()
        | st.integers(-5, 5)
        | st.floats()
        | st.sampled_from(["buy", "live", ""])
        | st.lists(st.lists(st.floats() | st.integers(-5, 5), min_size=1, max_size=3), max_size=3),
        max_size=8,
    ),
    stream=st.sampled_from(["price", "trades", "quote", "orderbook", "depth", "ticker"]),
)
def test_one_step_decodes_what_the_steps_do_and_refuses_with_their_words(
    fields: tuple[object, ...], body: list[object], stream: str
) -> None:
    topic = topic_of(stream)
    payload = msgpack.packb([*fields, *body])
    try:
        expected: object = codec._decode_slowly(topic, topic.key, payload)
    except PayloadError as error:
        expected = str(error)
    try:
        found: object = codec.decode_payload(topic.key, payload)
    except PayloadError as error:
        found = str(error)
    if isinstance(found, Tick) and isinstance(expected, str):
        assert "NaN or infinity" in expected, "in a field that only a newer publisher knows"
        assert codec._are_finite(list(msgspec.structs.astuple(found.body)))
    else:
        assert found == expected


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=6, max_size=20))
def test_the_quick_position_agrees_with_a_full_decode(fields: list[int]) -> None:
    packed = msgpack.packb(fields)
    if fields[0] >= 1 and fields[1] >= 0 and fields[2] >= 0:
        assert codec.position(packed) == (fields[1], fields[2])
    else:
        with pytest.raises(PayloadError):
            codec.position(packed)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    frame = codec.encode_frame(topic_of("price").key, 1, 1, None, 1, 1, Price(bad))
    with pytest.raises(PayloadError, match="NaN or infinity"):
        codec.decode_frame(frame)
    book = codec.encode_frame(
        topic_of("orderbook").key, 1, 1, None, 1, 1, OrderBook(1, [(1.0, bad)], [])
    )
    with pytest.raises(PayloadError, match="NaN or infinity"):
        codec.decode_frame(book)


def test_fields_appended_by_a_newer_publisher_are_ignored() -> None:
    payload = msgpack.packb([1, 5, 6, None, 1, 2, 1.5, 2.0, "buy", 9, "a new field"])
    tick = codec.decode_frame(topic_of("trades").key + b"\0" + payload)
    assert tick.body == Trade(1.5, 2.0, "buy", 9)


def test_optional_fields_missing_from_an_older_publisher_take_their_defaults() -> None:
    payload = msgpack.packb([1, 5, 6, None, 1, 2, 1.5, 2.0])
    assert codec.decode_frame(topic_of("trades").key + b"\0" + payload).body == Trade(1.5, 2.0)


def test_the_error_names_the_topic_and_the_field() -> None:
    payload = msgpack.packb([1, 5, 6, None, 1, 2, "dear", 2.0])
    with pytest.raises(PayloadError, match=r"md/trades/sim/BTC-USDT/.*Expected `float`"):
        codec.decode_frame(topic_of("trades").key + b"\0" + payload)


@given(st.integers(0, 10**16 - 1))
def test_a_price_of_eight_decimals_survives_text_float_text(units: int) -> None:
    venue_text = f"{units // 10**8}.{units % 10**8:08d}"
    if len(venue_text.replace(".", "").lstrip("0")) <= 15:  # what a double holds exactly
        assert f"{float(venue_text):.8f}" == venue_text


@pytest.mark.recorded
def test_every_recorded_price_and_size_survives_the_wire(recorded_dir: Path) -> None:
    numbers_seen: set[str] = set()
    pattern = re.compile(rb'"(\d+\.\d{8})"')
    for name in ("btcusdt_20240808.gz", "btcusdt_20240809.gz"):
        with gzip.open(recorded_dir / name) as lines:
            numbers_seen.update(match.decode() for match in set(pattern.findall(lines.read())))
    assert len(numbers_seen) > 50_000
    key = topic_of("price").key
    for venue_text in numbers_seen:
        frame = codec.encode_frame(key, 1, 1, None, 1, 1, Price(float(venue_text)))
        body = codec.decode_frame(frame).body
        assert isinstance(body, Price)
        assert f"{body.price:.8f}" == venue_text
        # and the shortest text a JSON reader sees parses back to the same venue text
        assert f"{float(json.dumps(body.price)):.8f}" == venue_text
