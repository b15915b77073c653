"""The link codec: what goes in comes out, and nothing else raises anything but LinkError."""

from __future__ import annotations

import contextlib
import json
import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wire.link import (
    LINK_VERSION,
    MAX_COUNTERS,
    MAX_DATA_BYTES,
    MAX_DATA_DEPTH,
    MAX_MESSAGE_BYTES,
    Beat,
    Bye,
    Command,
    Draining,
    Hello,
    LinkError,
    LinkMessage,
    Ready,
    Reopen,
    Reply,
    Stop,
    check_data,
    decode_link,
    encode_link,
)

MESSAGES: list[LinkMessage] = [
    Hello(42),
    Ready({"http": "http://127.0.0.1:8000"}, ("rotate", "list_symbols")),
    Beat(7, 123_456_789_000, 1.5, {"messages_in": 10, "rate": 0.5, "state": "live"}),
    Draining("SIGTERM"),
    Bye(1, "address in use"),
    Stop("mdbus down"),
    Reopen("/run/mdbus/log/feed.binance.log"),
    Command(
        1, "add_symbols", {"symbols": ["DOGE-USDT"], "deep": {"a": [1, 2.5, None, True]}}, 30.0
    ),
    Reply(1, True, {"symbols": ["DOGE-USDT"], "refused": []}),
    Reply(2**40, False, {}, "the venue does not list DOGE-EUR"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: LinkMessage) -> None:
    assert decode_link(encode_link(message)) == message


@given(
    st.dictionaries(
        st.text(max_size=300),
        st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=300)),
        max_size=200,
    )
)
def test_counters_of_any_size_fit_within_their_bounds(
    counters: dict[str, int | float | str],
) -> None:
    message = decode_link(encode_link(Beat(1, 0, 0.0, counters)))
    assert isinstance(message, Beat)
    assert len(message.counters) <= MAX_COUNTERS


def test_a_counter_that_is_no_number_is_shown_and_not_counted() -> None:
    message = decode_link(encode_link(Beat(1, 0, 0.0, {"a": math.nan, "b": math.inf, "c": 1.5})))
    assert message == Beat(1, 0, 0.0, {"a": "nan", "b": "inf", "c": 1.5})
    raw = msgpack.packb([LINK_VERSION, "beat", 1, 0, 0.0, {"a": math.nan}])
    with pytest.raises(LinkError, match="not finite"):
        decode_link(raw)


def test_what_people_are_shown_holds_nothing_that_a_terminal_obeys() -> None:
    line, shown = "no\x1b[2J\nvenue …", "no?[2J?venue …"
    for message, expected in (
        (Draining(line), Draining(shown)),
        (Bye(1, line), Bye(1, shown)),
        (Reply(1, False, {}, line), Reply(1, False, {}, shown)),
        (Ready({line: line}), Ready({shown: shown})),
        (Beat(1, 0, 0.0, {line: line}), Beat(1, 0, 0.0, {shown: shown})),
    ):
        assert decode_link(encode_link(message)) == expected


@given(st.binary(max_size=300))
def test_noise_raises_only_link_errors(noise: bytes) -> None:
    with contextlib.suppress(LinkError):
        decode_link(noise)


packable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    st.sampled_from(
        ["hello", "ready", "beat", "draining", "bye", "stop", "dump", "reopen", "command", "reply"]
    ),
    st.lists(packable, max_size=5),
)
def test_well_formed_msgpack_of_the_wrong_shape_raises_only_link_errors(
    kind: str, body: list[object]
) -> None:
    with contextlib.suppress(LinkError):
        decode_link(msgpack.packb([2, kind, *body]))


def test_another_version_is_refused() -> None:
    with pytest.raises(LinkError, match="version 1"):
        decode_link(msgpack.packb([1, "hello", 1]))


def test_an_oversized_message_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(LinkError, match="exceeds"):
        decode_link(b"\0" * (MAX_MESSAGE_BYTES + 1))


def test_fields_appended_by_a_later_release_are_ignored() -> None:
    frame = msgpack.packb([2, "hello", 42, "new"])
    assert decode_link(frame) == Hello(42)


def test_a_ready_of_an_earlier_release_has_no_verbs() -> None:
    frame = msgpack.packb([2, "ready", {"http": "u"}])
    assert decode_link(frame) == Ready({"http": "u"}, ())


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), plain))
def test_what_json_can_hold_arrives_as_it_was(data: dict[str, object]) -> None:
    assert check_data(data) == json.loads(json.dumps(data))
    assert decode_link(encode_link(Command(1, "v", data))) == Command(1, "v", data)


def nested(levels: int) -> dict[str, object]:
    data: dict[str, object] = {}
    for _ in range(levels):
        data = {"a": data}
    return data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"a": b"bytes"}, "type bytes"),
        ({"a": float("nan")}, "not finite"),
        ({"a": 2**63}, "64 bits"),
        ({1: "a"}, "key"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": "x" * MAX_DATA_BYTES}, "exceed"),
        (nested(MAX_DATA_DEPTH + 1), "levels"),
        ([], "a map"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_cannot_hold_is_refused_before_it_is_sent(data: object, why: str) -> None:
    with pytest.raises(LinkError, match=why):
        encode_link(Command(1, "v", data))  # type: ignore[arg-type]


def test_the_largest_data_fits_into_a_message() -> None:
    data = {"a": "x" * (MAX_DATA_BYTES - 6)}
    frame = encode_link(Reply(2**40, True, data))
    assert len(frame) <= MAX_MESSAGE_BYTES
    assert decode_link(frame) == Reply(2**40, True, data)
