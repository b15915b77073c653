"""Endpoints are checked before anything is bound."""

from __future__ import annotations

import pytest

from bus.endpoint import check_endpoint
from bus.errors import ConfigError


@pytest.mark.parametrize(
    "endpoint",
    [
        "ipc:///tmp/x.sock",
        "inproc://x",
        "tcp://127.0.0.1:5555",
        "tcp://127.1.2.3:0",
        "tcp://localhost:*",
        "tcp://[::1]:5555",
    ],
)
def test_local_endpoints_are_accepted(endpoint: str) -> None:
    assert check_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://eth0:5555", "tcp://10.1.2.3:5", "tcp://[::]:5"],
)
def test_an_endpoint_off_loopback_is_refused_and_the_message_says_what_to_do(endpoint: str) -> None:
    with pytest.raises(
        ConfigError, match=r"broker.publish.*off loopback.*who is asking.*127\.0\.0\.1"
    ):
        check_endpoint(endpoint, "broker.publish")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("", "not an endpoint"),
        ("publish.sock", "not an endpoint"),
        ("ipc://", "not an endpoint"),
        ("ipc://relative.sock", "absolute"),
        ("ipc:///" + "x" * 120, "at most 107"),
        ("udp://127.0.0.1:1", "only ipc"),
        ("tcp://127.0.0.1", "no port"),
        ("tcp://:5555", "no port"),
        ("tcp://127.0.0.1:http", "port must be"),
        ("tcp://127.0.0.1:70000", "port must be"),
    ],
)
def test_a_malformed_endpoint_is_refused(endpoint: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_endpoint(endpoint)
