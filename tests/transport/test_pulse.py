"""The last heartbeat in shared memory: found once, whole or not at all, by another process."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.transport.pulse import Pulse
from bus.wire.link import MAX_MESSAGE_BYTES


@pytest.fixture
def sides() -> Iterator[tuple[Pulse, Pulse]]:
    """The writer's and the reader's."""
    reader = Pulse.make()
    writer = Pulse(os.dup(reader.fileno()))
    yield writer, reader
    writer.close()
    reader.close()


def test_each_heartbeat_is_felt_once_and_read_once(sides: tuple[Pulse, Pulse]) -> None:
    writer, reader = sides
    assert (reader.feel(), reader.read()) == (None, None), "there was none yet"
    assert writer.write(7, b"seven")
    assert (reader.feel(), reader.feel()) == (7, None)
    assert (reader.read(), reader.read()) == (b"seven", None)
    assert writer.write(8, b"eight")
    assert writer.write(9, b"")
    assert (reader.read(), reader.feel()) == (b"", 9), "only the last one counts"


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=300)), max_size=9))
def test_whatever_is_written_last_is_found(beats: list[tuple[int, bytes]]) -> None:
    reader = Pulse.make()
    writer = Pulse(os.dup(reader.fileno()))
    for at_ns, frame in beats:
        assert writer.write(at_ns, frame)
    if beats:
        at_ns, frame = beats[-1]
        assert reader.read() == frame
        assert reader.feel() == (at_ns or None) or at_ns == 0
    writer.close()
    reader.close()


def test_the_largest_frame_fits_and_a_larger_one_is_refused(sides: tuple[Pulse, Pulse]) -> None:
    writer, reader = sides
    assert writer.write(1, b"x" * MAX_MESSAGE_BYTES)
    assert reader.read() == b"x" * MAX_MESSAGE_BYTES
    assert not writer.write(2, b"x" * (MAX_MESSAGE_BYTES + 1))
    assert (reader.feel(), reader.read()) == (1, None), "the one before is still the last"


@pytest.mark.parametrize("at", [0, 9, 12, 16, 20, 24])
def test_one_that_was_not_written_to_its_end_is_none(sides: tuple[Pulse, Pulse], at: int) -> None:
    """A bit that is wrong anywhere: the frame is not taken; a wrong time is not either."""
    writer, reader = sides
    writer.write(1 << 40, b"a frame")
    with mmap.mmap(reader.fileno(), 0) as memory:
        memory[at] ^= 0x55
        assert reader.read() is None or at < 12
        assert (reader.feel() is None) == (at < 12)
        memory[at] ^= 0x55
        assert reader.read() == b"a frame" or at < 12
    writer.write(2 << 40, b"another")
    assert (reader.feel(), reader.read()) == (2 << 40, b"another")


def test_what_is_read_while_it_is_written_is_whole_or_nothing(sides: tuple[Pulse, Pulse]) -> None:
    writer, reader = sides
    over = threading.Event()

    def write() -> None:
        for number in range(1, 20_000):
            writer.write(number, b"%d" % number * (number % 50))
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    found: list[bytes] = []
    times: list[int] = []
    while not over.is_set():
        found += filter(None, [reader.read()])
        times += filter(None, [reader.feel()])
    thread.join()
    assert times == sorted(times)
    for frame in found:
        numbers = [n for n in (frame[:1], frame[:2], frame[:3], frame[:4], frame[:5]) if n]
        assert any(frame == n * (int(n) % 50) for n in numbers)


def test_nobody_can_take_the_memory_from_under_the_reader(sides: tuple[Pulse, Pulse]) -> None:
    writer, _ = sides
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(writer.fileno(), size)


def test_it_is_inherited_by_nobody_and_closed_once() -> None:
    pulse = Pulse.make()
    assert not os.get_inheritable(pulse.fileno())
    os.set_inheritable(pulse.fileno(), True)
    again = Pulse(pulse.leave())
    assert not os.get_inheritable(again.fileno())
    again.close()
    again.close()
    assert again.fileno() == -1


def test_what_is_no_such_memory_is_refused() -> None:
    fd = os.open(os.devnull, os.O_RDWR)
    with pytest.raises((OSError, ValueError)):
        Pulse(fd)
    os.close(fd)
