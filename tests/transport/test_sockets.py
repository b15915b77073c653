"""Sockets are bound without taking anything over."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from bus.errors import BusError, ConfigError
from bus.transport.sockets import (
    DONTWAIT,
    ZmqContext,
    bind,
    connect,
    control_pair,
    proxy_egress,
    proxy_ingress,
    publisher_socket,
    raw_send,
    subscriber_socket,
)
from tests.broker.serving import KeepingContext


@pytest.fixture
def context() -> Iterator[ZmqContext]:
    made = KeepingContext()
    yield made
    made.end()


def test_an_ipc_socket_is_private(context: ZmqContext, run_dir: Path) -> None:
    bind(proxy_egress(context, send_hwm=1), f"ipc://{run_dir}/s")
    assert stat.S_IMODE((run_dir / "s").stat().st_mode) == 0o600


def test_a_tcp_port_0_is_resolved(context: ZmqContext) -> None:
    endpoint = bind(proxy_ingress(context, receive_hwm=1), "tcp://127.0.0.1:0")
    assert not endpoint.endswith(":0")


def test_a_live_ipc_socket_is_not_taken_over(context: ZmqContext, run_dir: Path) -> None:
    endpoint = f"ipc://{run_dir}/s"
    bind(proxy_egress(context, send_hwm=1), endpoint)
    with pytest.raises(BusError, match="another process serves it"):
        bind(proxy_egress(context, send_hwm=1), endpoint)


def test_a_stale_ipc_socket_is_replaced(context: ZmqContext, run_dir: Path) -> None:
    (run_dir / "s").touch()
    assert bind(proxy_egress(context, send_hwm=1), f"ipc://{run_dir}/s")


def test_a_busy_tcp_port_is_one_clear_sentence(context: ZmqContext) -> None:
    endpoint = bind(proxy_ingress(context, receive_hwm=1), "tcp://127.0.0.1:0")
    with pytest.raises(BusError, match=f"cannot bind {endpoint}: the address is in use"):
        bind(proxy_ingress(context, receive_hwm=1), endpoint)


def test_a_missing_directory_is_one_clear_sentence(context: ZmqContext) -> None:
    with pytest.raises(BusError, match="its directory does not exist"):
        bind(proxy_ingress(context, receive_hwm=1), "ipc:///nowhere/at/all")


def test_a_publisher_hears_every_subscription_and_knows_when_it_is_full(
    context: ZmqContext, run_dir: Path
) -> None:
    endpoint = f"ipc://{run_dir}/p"
    publisher = publisher_socket(context, endpoint, send_hwm=5, linger_ms=0)
    ingress = proxy_ingress(context, receive_hwm=1)
    bind(ingress, endpoint)
    ingress.send(b"\x01md/")
    while not publisher.poll(20):
        ingress.poll(20)  # a connection is taken up by the thread that uses the socket
    assert publisher.recv() == b"\x01md/"
    send = raw_send(publisher)

    def fill() -> None:
        for _ in range(100_000):
            send(b"md/" + b"x" * 10_000, DONTWAIT)

    with pytest.raises(zmq.Again):
        fill()


def test_connecting_nowhere_closes_the_socket(context: ZmqContext) -> None:
    with pytest.raises(ConfigError):
        subscriber_socket(context, "tcp://example.org:1", receive_hwm=1)
    socket = subscriber_socket(context, "inproc://x", receive_hwm=1)
    with pytest.raises(BusError, match="cannot connect to"):
        connect(socket, "tcp://127.0.0.1:notaport")
    assert socket.closed


def test_the_control_line_goes_both_ways(context: ZmqContext) -> None:
    one = control_pair(context, "inproc://c", binds=True)
    two = control_pair(context, "inproc://c", binds=False)
    one.send(b"a")
    two.send(b"b")
    assert (two.recv(), one.recv()) == (b"a", b"b")
