"""The sockets of the link: bounded, and closed to other users."""

from __future__ import annotations

import itertools
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from bus.errors import BusError, ConfigError
from bus.transport.link import make_link_dealer, make_link_router
from bus.transport.sockets import ZmqContext, ZmqSocket


class Made:
    """Makes sockets of the link and closes every one at the end."""

    def __init__(self) -> None:
        self._context: ZmqContext = zmq.Context()
        self._sockets: list[ZmqSocket] = []

    def router(self, endpoint: str) -> ZmqSocket:
        self._sockets.append(make_link_router(self._context, endpoint))
        return self._sockets[-1]

    def dealer(self, endpoint: str) -> ZmqSocket:
        self._sockets.append(make_link_dealer(self._context, endpoint))
        return self._sockets[-1]

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(linger=0)
        self._context.term()


@pytest.fixture
def made() -> Iterator[Made]:
    sockets = Made()
    yield sockets
    sockets.close()


def test_messages_go_both_ways(made: Made, run_dir: Path) -> None:
    endpoint = f"ipc://{run_dir}/link.sock"
    router = made.router(endpoint)
    dealer = made.dealer(endpoint)
    dealer.send(b"up")
    identity, text = router.recv_multipart()
    router.send_multipart([identity, b"down"])
    assert (text, dealer.recv()) == (b"up", b"down")


def test_the_socket_file_is_private(made: Made, run_dir: Path) -> None:
    made.router(f"ipc://{run_dir}/link.sock")
    assert stat.S_IMODE((run_dir / "link.sock").stat().st_mode) == 0o600


def test_a_busy_endpoint_is_not_taken_over(made: Made, run_dir: Path) -> None:
    made.router(f"ipc://{run_dir}/link.sock")
    with pytest.raises(BusError, match="another process"):
        made.router(f"ipc://{run_dir}/link.sock")


def test_a_path_too_long_for_a_socket_is_a_setting_to_change(made: Made, run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="107"):
        made.router(f"ipc://{run_dir}/{'x' * 120}.sock")


def test_a_dealer_without_a_supervisor_drops_at_its_bound_and_never_blocks(
    made: Made, run_dir: Path
) -> None:
    dealer = made.dealer(f"ipc://{run_dir}/nobody.sock")
    fill = itertools.repeat(b"x", 5_000)
    with pytest.raises(zmq.Again):
        deque((dealer.send(text, zmq.NOBLOCK) for text in fill), maxlen=0)
