"""Where the bridge may listen."""

from __future__ import annotations

import pytest

from bus.config.bridge import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.8.9.10", "::1")),
        *((host, False) for host in ("", "0.0.0.0", "::", "192.168.1.5", "desk.example")),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
