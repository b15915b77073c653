"""Files of blocks: whole, cut short anywhere, damaged anywhere, or something else entirely."""

from __future__ import annotations

import contextlib
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.capture import MAGIC, BlockEncoder, CaptureError, Cut, Decoder, Frame, Record
from bus.capture.blocks import FRESH_EVERY_BYTES, MARK
from bus.capture.records import encode
from tests.capture.makers import blocks, read, write

BIG = b"x" * (FRESH_EVERY_BYTES // 2 + 1)


@given(blocks, st.integers(1, 200))
def test_a_file_comes_back_whole_however_it_is_read(
    content: list[list[Record]], portion: int
) -> None:
    data, _ = write(content)
    found, decoder = read(data, portion)
    assert found == [record for block in content for record in block]
    assert decoder.cuts == []


@given(blocks, st.data())
def test_a_cut_anywhere_loses_no_complete_block_and_is_told(
    content: list[list[Record]], draw: st.DataObject
) -> None:
    data, ends = write(content)
    size = draw.draw(st.integers(len(MAGIC), len(data)))
    found, decoder = read(data[:size])
    whole = [record for block in content for record in block]
    certain = sum(len(block) for block, end in zip(content, ends, strict=True) if end <= size)
    assert found == whole[: len(found)]
    assert len(found) >= certain
    last_end = max([len(MAGIC), *(end for end in ends if end <= size)])
    cut = [Cut(last_end, size - last_end, "the last block is cut short")]
    assert decoder.cuts == (cut if size > last_end else [])


def test_a_cut_block_gives_the_records_that_are_there() -> None:
    content: list[list[Record]] = [[Frame(n, 1, bytes([n]) * 400) for n in range(50)]]
    data, _ = write(content)
    found, decoder = read(data[: len(data) - 40])
    assert 0 < len(found) < 50
    assert found == content[0][: len(found)]
    assert len(decoder.cuts) == 1


@settings(max_examples=200)
@given(blocks, st.data())
def test_a_changed_bit_never_changes_a_record(
    content: list[list[Record]], draw: st.DataObject
) -> None:
    data, _ = write(content)
    at = draw.draw(st.integers(len(MAGIC), len(data) - 1))
    damaged = bytearray(data)
    damaged[at] ^= 1 << draw.draw(st.integers(0, 7))
    found, decoder = read(bytes(damaged), 64)
    whole = [record for block in content for record in block]
    assert found == whole or decoder.cuts
    rest = iter(whole)
    assert all(record in rest for record in found), "in order, none invented"


@given(st.binary(max_size=400), st.integers(1, 50))
def test_arbitrary_bytes_are_refused_or_read_never_a_crash(data: bytes, portion: int) -> None:
    with contextlib.suppress(CaptureError):
        read(data, portion)
    found, decoder = read(MAGIC + data, portion)
    assert found or not data or sum(cut.size_bytes for cut in decoder.cuts) == len(data)


@given(st.lists(st.sampled_from([MARK, b"\x01", b"\x00", b"\x05\x00\x00\x00", b"abc"])))
def test_bytes_that_look_like_blocks_are_no_danger(parts: list[bytes]) -> None:
    read(MAGIC + b"".join(parts), 7)


def test_after_damage_reading_goes_on_at_the_next_window() -> None:
    content: list[list[Record]] = [[Frame(n, 1, BIG)] for n in range(6)]
    data, ends = write(content)
    for start, end in pairwise([len(MAGIC), *ends]):
        damaged = bytearray(data)
        damaged[(start + end) // 2] ^= 0xFF
        found, decoder = read(bytes(damaged))
        assert len(found) == 5  # each of these blocks begins a window
        assert [(cut.offset, cut.size_bytes) for cut in decoder.cuts] == [(start, end - start)]


def test_a_block_whose_window_is_lost_is_lost_with_it() -> None:
    content: list[list[Record]] = [[Frame(n, 1, b"small")] for n in range(3)]
    data, ends = write([*content, [Frame(9, 1, BIG * 2)]])
    damaged = bytearray(data)
    damaged[len(MAGIC) + 20] ^= 0xFF
    found, decoder = read(bytes(damaged))
    assert found == [Frame(9, 1, BIG * 2)]
    assert [(cut.offset, cut.size_bytes) for cut in decoder.cuts] == [
        (len(MAGIC), ends[2] - len(MAGIC))
    ]
    assert "checksum" in decoder.cuts[0].why


def test_zeros_at_the_end_as_after_a_power_cut_are_told() -> None:
    data, ends = write([[Frame(1, 1, b"kept")]])
    found, decoder = read(data + bytes(500))
    assert found == [Frame(1, 1, b"kept")]
    assert [(cut.offset, cut.size_bytes) for cut in decoder.cuts] == [(ends[0], 500)]


@pytest.mark.parametrize("data", [b"", b"mdc", b"\x1f\x8b gzip", b"{}", b"mdcap\x00"])
def test_another_kind_of_file_is_refused(data: bytes) -> None:
    with pytest.raises(CaptureError, match=r"no capture file|is empty|first line"):
        read(data)


def test_a_later_version_is_refused_by_its_number() -> None:
    with pytest.raises(CaptureError, match="version '7' is not known"):
        read(b"mdcap\x007\n" + bytes(20))


def test_a_later_kind_of_record_is_counted_and_left_out() -> None:
    unknown = encode(Frame(1, 1, b"??"))
    unknown = unknown[:4] + b"\xc8" + unknown[5:]
    data = MAGIC + BlockEncoder().block(unknown + encode(Frame(2, 1, b"known")))
    found, decoder = read(data)
    assert found == [Frame(2, 1, b"known")]
    assert decoder.unknown == 1


@pytest.mark.parametrize("size", [0])
def test_an_empty_block_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        BlockEncoder().block(bytes(size))


def test_a_checked_block_of_nonsense_is_cut_and_not_a_crash() -> None:
    data, _ = write([[Frame(1, 1, b"before")]])
    nonsense = BlockEncoder().block(b"\xff" * 40)
    found, decoder = read(data + nonsense)
    assert found == [Frame(1, 1, b"before")]
    assert "not what it says" in decoder.cuts[0].why


def test_a_block_that_inflates_to_more_than_it_says_is_cut() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    from bus.capture import blocks as format_

    crc = format_._crc(1, len(stored), 10, stored)
    bomb = format_._HEADER.pack(MARK, 1, len(stored), 10, crc) + stored
    decoder = Decoder()
    assert list(decoder.feed(MAGIC + bomb)) == []
    assert len(decoder.cuts) == 1
