"""The process's end of the link, driven by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from bus.clock import NS_PER_MS
from bus.runtime.environment import Spawned
from bus.runtime.link import BEAT_INTERVAL_NS, SERVICE_INTERVAL_NS, ChildLink, new_token
from bus.testing import wait_until
from bus.transport.link import make_link_router
from bus.wire.link import Beat, Hello, Sender, Stop, decode_link, encode_link


@pytest.fixture
def ends(run_dir: Path) -> Iterator[tuple[ChildLink, zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoint = f"ipc://{run_dir}/link.sock"
    router = make_link_router(context, endpoint)
    link = ChildLink("p", Spawned(endpoint, 1, "t", 1, -1), context)
    yield link, router
    link.close(0, "")
    router.close()
    context.term()


def received(router: zmq.Socket[bytes]) -> object:
    assert router.poll(5_000)
    return decode_link(router.recv_multipart()[1])[1]


def test_a_beat_is_sent_when_due_and_not_before(
    ends: tuple[ChildLink, zmq.Socket[bytes]],
) -> None:
    link, router = ends
    assert isinstance(received(router), Hello)
    for now_ns in range(0, 2 * BEAT_INTERVAL_NS, SERVICE_INTERVAL_NS):
        link.service(now_ns)
    assert [received(router), received(router)] == [Beat(1, 0.0), Beat(2, 0.0)]
    assert not router.poll(50)


def test_the_worst_lateness_since_the_last_beat_is_the_lag(
    ends: tuple[ChildLink, zmq.Socket[bytes]],
) -> None:
    link, router = ends
    received(router)
    link.service(0)
    received(router)
    for turn in range(1, 5):  # the first of these turns is 70 ms late, the others are in time
        link.service(turn * SERVICE_INTERVAL_NS + 70 * NS_PER_MS)
    beat = received(router)
    assert isinstance(beat, Beat)
    assert beat.loop_lag_ms == pytest.approx(70.0)


def test_a_stop_and_noise_are_told_apart(ends: tuple[ChildLink, zmq.Socket[bytes]]) -> None:
    link, router = ends
    identity, _ = router.recv_multipart()
    router.send_multipart([identity, b"noise"])
    router.send_multipart([identity, encode_link(Sender("p", 1, "t"), Stop("why"))])
    assert wait_until(link.receive) == "why"
    assert link.receive() is None


def test_tokens_are_not_guessable() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) == 16
