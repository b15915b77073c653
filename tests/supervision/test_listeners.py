"""Listening sockets: shared between slots, never with a stranger."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from bus.errors import ConfigError
from bus.supervision.listeners import (
    PortBusyError,
    claim_endpoint,
    claim_port,
    open_listeners,
)


def test_port_0_becomes_a_real_one() -> None:
    assert claim_port("127.0.0.1", 0, "bridge.port") > 0


def test_slots_share_one_port(free_port: Callable[[], int]) -> None:
    port = free_port()
    listeners = open_listeners("127.0.0.1", port, 3)
    assert {listener.getsockname()[1] for listener in listeners} == {port}
    for listener in listeners:
        listener.close()


def test_a_port_somebody_listens_on_is_busy_even_when_they_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(PortBusyError, match=f"port {port} .* --set bridge.port=PORT"):
            claim_port("127.0.0.1", port, "bridge.port")


def test_a_port_just_given_up_is_free(free_port: Callable[[], int]) -> None:
    """Connections in TIME_WAIT do not make a port busy."""
    port = free_port()
    (listener,) = open_listeners("127.0.0.1", port, 1)
    with socket.create_connection(("127.0.0.1", port)):
        listener.setblocking(True)
        listener.accept()[0].close()
    listener.close()
    assert claim_port("127.0.0.1", port, "bridge.port") == port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_a_setting_to_change(host: str) -> None:
    for setting, key in (
        ("bridge.port", "bridge.host"),
        ("bridge.admin.port", "bridge.admin.host"),
        ("simulator.ports.binance", "simulator.host"),
    ):
        with pytest.raises(ConfigError, match=f"{key}: '{host}' is no address of this machine"):
            claim_port(host, 0, setting)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_busy_endpoint_names_its_setting_and_what_to_write(host: str) -> None:
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((host.strip("[]"), 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(PortBusyError) as busy:
            claim_endpoint(f"tcp://{host}:{port}", "broker.publish")
    assert f"--set broker.publish=tcp://{host}:PORT" in str(busy.value)
    claim_endpoint(f"tcp://{host}:{port}", "broker.publish")  # free again


def test_an_endpoint_on_an_address_that_is_not_ours_is_its_own_setting() -> None:
    with pytest.raises(ConfigError, match=r"broker\.publish: "):
        claim_endpoint("tcp://192.0.2.1:5555", "broker.publish")


def test_an_endpoint_that_is_a_file_is_left_to_the_broker() -> None:
    claim_endpoint("ipc:///nowhere/publish.sock", "broker.publish")
