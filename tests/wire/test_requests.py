"""Snapshot and replay subscriptions, and the markers that end their answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import PayloadError, RequestError
from bus.wire import codec, requests
from bus.wire.requests import End, Gone, ReplayRequest, SnapshotRequest

ids = st.from_regex(rb"[A-Za-z0-9_-]{1,32}", fullmatch=True)
TOPIC = b"md/trades/sim/BTC-USDT/"


@given(ids, st.sampled_from([b"md/", b"md/trades/", b"md/trades/sim/", TOPIC, b"sys/"]))
def test_a_snapshot_request_parses_back(request_id: bytes, prefix: bytes) -> None:
    request = SnapshotRequest(request_id, prefix)
    assert requests.parse_request(request.key) == request
    assert request.key == request.root + prefix


@given(ids, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_replay_request_parses_back(request_id: bytes, epoch: int, seq: int) -> None:
    request = ReplayRequest(request_id, epoch, seq, TOPIC)
    assert requests.parse_request(request.key) == request


@pytest.mark.parametrize("key", [b"md/trades/", b"", b"sys/status/", b"snap"])
def test_an_ordinary_subscription_is_no_request(key: bytes) -> None:
    assert requests.parse_request(key) is None


@given(st.sampled_from([b"snapshot/", b"replay/"]), st.binary(max_size=300))
def test_a_malformed_request_raises_request_errors_only(root: bytes, rest: bytes) -> None:
    try:
        request = requests.parse_request(root + rest)
    except RequestError:
        return
    assert request is not None
    assert request.key == root + rest or b"-0" in rest or b"/0" in rest  # 007 reads as 7


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (b"snapshot//md/", "id must be"),
        (b"snapshot/a b/md/", "id must be"),
        (b"snapshot/abc/trades/", "prefix"),
        (b"snapshot/abc", "prefix"),
        (b"replay/abc/12/" + TOPIC, "position"),
        (b"replay/abc/12--1/" + TOPIC, "position"),
        (b"replay/abc/1-2/md/trades/", "not md/<stream>"),
        (b"snapshot/" + b"x" * 400, "longer than"),
    ],
)
def test_a_malformed_request_says_what_is_wrong(key: bytes, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        requests.parse_request(key)


def test_new_ids_are_valid_and_differ() -> None:
    made = {requests.new_request_id() for _ in range(1000)}
    assert len(made) == 1000
    for request_id in made:
        assert requests.parse_request(SnapshotRequest(request_id, b"md/").key)


def test_markers_stand_under_the_subscription_itself() -> None:
    snapshot = SnapshotRequest(b"abc", b"md/")
    topic, payload = codec.split(requests.encode_end(snapshot, 7))
    assert topic == b"snapshot/abc/md/"
    assert requests.decode_marker(payload) == End(7)
    replay = ReplayRequest(b"abc", 5, 6, TOPIC)
    topic, payload = codec.split(requests.encode_gone(replay, 8, 9))
    assert topic == b"replay/abc/5-6/" + TOPIC
    assert requests.decode_marker(payload) == Gone(8, 9)


@given(st.binary(max_size=60))
def test_a_malformed_marker_raises_payload_errors_only(payload: bytes) -> None:
    try:
        marker = requests.decode_marker(payload)
    except PayloadError:
        return
    assert isinstance(marker, End | Gone)
