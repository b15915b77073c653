"""Where the bridge listens, and the one line that says why it cannot."""

from __future__ import annotations

import socket

import pytest

from bus.errors import ConfigError
from bus.wsbridge.listening import bind, url_of


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for shared in (True, False):
            with pytest.raises(ConfigError, match=rf"bridge\.admin\.port: port {port}.* in use"):
                bind("127.0.0.1", port, "bridge.admin", shared=shared)


def test_an_address_of_somebody_else_is_named() -> None:
    for host in ("203.0.113.1", "no-such-host.invalid"):
        with pytest.raises(ConfigError, match=r"bridge\.host"):
            bind(host, 0)


def test_the_url_of_a_socket() -> None:
    with bind("127.0.0.1", 0) as one, bind("::1", 0) as other:
        assert url_of(one) == f"http://127.0.0.1:{one.getsockname()[1]}"
        assert url_of(other) == f"http://[::1]:{other.getsockname()[1]}"
