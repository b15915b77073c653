"""The link codec: what goes in comes out, and nothing else raises anything but LinkError."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wire.link import (
    MAX_COUNTERS,
    MAX_MESSAGE_BYTES,
    Beat,
    Bye,
    Draining,
    Dump,
    Hello,
    LinkError,
    LinkMessage,
    Ready,
    Sender,
    Stop,
    decode_link,
    encode_link,
)

SENDER = Sender("feed.binance", 3, "a1b2")
MESSAGES: list[LinkMessage] = [
    Hello(42),
    Ready({"http": "http://127.0.0.1:8000"}),
    Beat(7, 1.5, {"messages_in": 10, "rate": 0.5, "state": "live"}),
    Draining("SIGTERM"),
    Bye(1, "address in use"),
    Stop("mdbus down"),
    Dump(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire(message: LinkMessage) -> None:
    assert decode_link(encode_link(SENDER, message)) == (SENDER, message)


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
    _, message = decode_link(encode_link(SENDER, Beat(1, 0.0, counters)))
    assert isinstance(message, Beat)
    assert len(message.counters) <= MAX_COUNTERS


@given(st.binary(max_size=300))
def test_noise_raises_only_link_errors(noise: bytes) -> None:
    with contextlib.suppress(LinkError):
        decode_link(noise)


packable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    st.sampled_from(["hello", "ready", "beat", "draining", "bye", "stop", "dump", "?"]),
    st.lists(packable, max_size=5),
)
def test_well_formed_msgpack_of_the_wrong_shape_raises_only_link_errors(
    kind: str, body: list[object]
) -> None:
    with contextlib.suppress(LinkError):
        decode_link(msgpack.packb([1, kind, "x", 1, "t", *body]))


def test_another_version_is_refused() -> None:
    with pytest.raises(LinkError, match="version 2"):
        decode_link(msgpack.packb([2, "hello", "x", 1, "t", 1]))


def test_an_oversized_message_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(LinkError, match="exceeds"):
        decode_link(b"\0" * (MAX_MESSAGE_BYTES + 1))


def test_fields_appended_by_a_later_release_are_ignored() -> None:
    frame = msgpack.packb([1, "hello", "x", 1, "t", 42, "new"])
    assert decode_link(frame)[1] == Hello(42)
