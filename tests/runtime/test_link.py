"""The process's end of the link, driven by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bus.clock import NS_PER_MS
from bus.runtime.environment import Spawned
from bus.runtime.link import BEAT_INTERVAL_NS, SERVICE_INTERVAL_NS, SUPERVISOR_GONE, ChildLink
from bus.transport.link import LinkEnd, link_pair
from bus.transport.pulse import Pulse
from bus.wire.link import Beat, Bye, Hello, LinkMessage, Ready, Stop, decode_link, encode_link


class Other:
    """The supervisor's side."""

    def __init__(self, end: LinkEnd) -> None:
        self.end = end
        self.pulse = Pulse.make()

    def said(self) -> LinkMessage | None:
        frame = self.end.receive()
        return None if frame is None else decode_link(frame)

    def beat(self) -> LinkMessage | None:
        frame = self.pulse.read()
        return None if frame is None else decode_link(frame)


@pytest.fixture
def sides() -> Iterator[tuple[ChildLink, Other]]:
    ours, theirs = link_pair()
    other = Other(ours)
    link = ChildLink(Spawned(theirs.leave(), os.dup(other.pulse.fileno()), 1, 1, -1))
    yield link, other
    link.close(0, "")
    other.end.close()
    other.pulse.close()


def test_a_beat_is_made_when_due_and_not_before(sides: tuple[ChildLink, Other]) -> None:
    link, other = sides
    assert other.said() == Hello(os.getpid())
    beats = []
    for now_ns in range(0, 2 * BEAT_INTERVAL_NS, SERVICE_INTERVAL_NS):
        link.service(now_ns)
        beats.append(other.beat())
    assert list(filter(None, beats)) == [Beat(1, 0, 0.0), Beat(2, BEAT_INTERVAL_NS, 0.0)]
    assert other.said() is None, "and nothing is sent for it"


def test_the_worst_lateness_since_the_last_beat_is_the_lag(sides: tuple[ChildLink, Other]) -> None:
    link, other = sides
    link.service(0)
    other.beat()
    for turn in range(1, 5):  # the first of these turns is 70 ms late, the others are in time
        link.service(turn * SERVICE_INTERVAL_NS + 70 * NS_PER_MS)
    beat = other.beat()
    assert isinstance(beat, Beat)
    assert beat.loop_lag_ms == pytest.approx(70.0)


def test_a_stop_and_noise_are_told_apart(sides: tuple[ChildLink, Other]) -> None:
    link, other = sides
    assert other.end.send(b"noise")
    assert other.end.send(encode_link(Stop("why")))
    assert link.receive() == "why"
    assert link.receive() is None


def test_the_last_word_is_sent_and_nothing_after_it(sides: tuple[ChildLink, Other]) -> None:
    link, other = sides
    link.ready({"http": "u"}, ("v",))
    link.close(1, "no memory")
    said = [other.said() for _ in range(3)]
    assert said[1:] == [Ready({"http": "u"}, ("v",)), Bye(1, "no memory")]


def test_a_supervisor_that_is_gone_is_a_reason_to_stop(sides: tuple[ChildLink, Other]) -> None:
    link, other = sides
    other.end.send(encode_link(Stop("mdbus down")))
    other.end.close()
    assert link.receive() == "mdbus down", "what it said before counts"
    assert link.receive() == SUPERVISOR_GONE
    assert link.service(0) == SUPERVISOR_GONE
    dropped = link.dropped
    link.ready({})
    assert link.dropped == dropped + 1, "nobody is there to be told"
