"""The two ends of a link: messages kept apart, bounded, never blocking."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

import pytest

from bus.transport.link import LinkClosedError, LinkEnd, link_pair
from bus.wire.link import MAX_MESSAGE_BYTES


@pytest.fixture
def ends() -> Iterator[tuple[LinkEnd, LinkEnd]]:
    ours, theirs = link_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_go_both_ways_and_stay_apart(ends: tuple[LinkEnd, LinkEnd]) -> None:
    ours, theirs = ends
    assert ours.receive() is None, "nothing is there yet, and nobody waits"
    assert all(theirs.send(text) for text in (b"one", b"two"))
    assert ours.send(b"down")
    assert [ours.receive(), ours.receive(), ours.receive()] == [b"one", b"two", None]
    assert theirs.receive() == b"down"


def test_the_largest_message_arrives_whole_and_a_larger_one_shows(
    ends: tuple[LinkEnd, LinkEnd],
) -> None:
    ours, theirs = ends
    assert theirs.send(b"x" * MAX_MESSAGE_BYTES)
    assert ours.receive() == b"x" * MAX_MESSAGE_BYTES
    assert theirs.send(b"x" * (MAX_MESSAGE_BYTES + 10))
    assert len(ours.receive() or b"") == MAX_MESSAGE_BYTES + 1, "what is beyond is cut"


def test_what_was_sent_before_the_end_is_read_before_the_end(
    ends: tuple[LinkEnd, LinkEnd],
) -> None:
    ours, theirs = ends
    ours.send(b"what it never reads")
    theirs.send(b"the last word")
    theirs.close()
    theirs.close()
    assert theirs.closed
    assert ours.receive() == b"the last word"
    for _ in range(2):
        with pytest.raises(LinkClosedError):
            ours.receive()
    assert not ours.send(b"anybody?")


def test_a_reader_that_does_not_read_blocks_nobody(ends: tuple[LinkEnd, LinkEnd]) -> None:
    ours, theirs = ends
    sent = sum(1 for _ in itertools.takewhile(theirs.send, itertools.repeat(b"x" * 100)))
    assert sent > 50
    assert not theirs.send(b"x")
    assert ours.receive() == b"x" * 100
    assert sum(1 for _ in iter(ours.receive, None)) == sent - 1
    assert theirs.send(b"room again")


def test_an_end_can_be_given_to_another_process_and_to_no_grandchild(
    ends: tuple[LinkEnd, LinkEnd],
) -> None:
    ours, theirs = ends
    fd = theirs.leave()
    os.set_inheritable(fd, True)
    given = LinkEnd.of_descriptor(fd)
    assert not os.get_inheritable(given.fileno())
    assert given.send(b"here")
    assert ours.receive() == b"here"
    given.close()
    assert given.fileno() == -1


def test_what_is_no_socket_is_refused() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        LinkEnd.of_descriptor(fd)
    os.close(fd)


def test_a_broken_link_is_a_closed_one() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    end = LinkEnd(here)
    there.close()
    with pytest.raises(LinkClosedError):
        end.receive()
    end.close()
