"""Records to bytes and back; bytes that are no records are said to be none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.capture import Frame, Opened, Record
from bus.capture.records import HEADER, Unreadable, decode_all, encode, frame_header
from tests.capture.makers import records


@given(st.lists(records, max_size=10))
def test_records_come_back_as_they_were(written: list[Record]) -> None:
    assert list(decode_all(b"".join(map(encode, written)))) == written


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_records_or_unreadable(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        list(decode_all(data))


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_records_before_a_cut_are_given_before_it_is_reported(
    written: list[Record], data: st.DataObject
) -> None:
    whole = b"".join(map(encode, written))
    size = data.draw(st.integers(0, len(whole) - 1))
    given_before: list[Record | None] = []
    ends = [len(b"".join(map(encode, written[:count]))) for count in range(len(written) + 1)]
    if size in ends:
        assert list(decode_all(whole[:size])) == written[: ends.index(size)]
        return
    with pytest.raises(Unreadable) as caught:
        given_before.extend(decode_all(whole[:size]))
    complete = sum(end <= size for end in ends) - 1
    assert caught.value.offset == ends[complete]
    kept: list[Record | None] = []
    with contextlib.suppress(Unreadable):
        for record in decode_all(whole[:size]):
            kept.append(record)
    assert kept == written[:complete]


def test_the_header_written_ahead_of_a_payload_makes_the_same_record() -> None:
    assert frame_header(3, 17, 2) + b"abc" == encode(Frame(17, 2, b"abc"))


def test_a_kind_of_a_later_version_is_passed_over() -> None:
    later = HEADER.pack(2, 200, 5, 1) + b"??"
    assert list(decode_all(later + encode(Frame(1, 1, b"x")))) == [None, Frame(1, 1, b"x")]


def test_a_key_of_a_later_version_is_passed_over() -> None:
    body = b'{"time_ns":1,"connection":1,"name":"a","url":"b","novelty":[1]}'
    assert list(decode_all(HEADER.pack(len(body), 2, 7, 3) + body)) == [Opened(7, 3, "a", "b")]


def test_a_length_beyond_the_bound_is_not_believed() -> None:
    with pytest.raises(Unreadable, match="claims 4294967295 bytes"):
        list(decode_all(HEADER.pack(2**32 - 1, 3, 1, 1)))
