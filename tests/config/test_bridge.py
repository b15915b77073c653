"""Where the bridge may listen, and how long it may take to let its clients go."""

from __future__ import annotations

import pytest

from bus.config.bridge import BridgeSettings, is_loopback


@pytest.mark.parametrize(
    ("connections", "drain_s", "close_timeout_s", "farewell_s"),
    [(5_000, 3.0, 5.0, 31.5), (100, 3.0, 5.0, 8.0), (1, 0.0, 0.1, 0.105)],
)
def test_a_farewell_is_as_long_as_its_row_its_overlap_and_the_last_answer(
    connections: int, drain_s: float, close_timeout_s: float, farewell_s: float
) -> None:
    settings = BridgeSettings(
        max_connections=connections, drain_s=drain_s, close_timeout_s=close_timeout_s
    )
    assert settings.farewell_s == pytest.approx(farewell_s)
    assert settings.stop_s > settings.farewell_s


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.8.9.10", "::1")),
        *((host, False) for host in ("", "0.0.0.0", "::", "192.168.1.5", "desk.example")),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
