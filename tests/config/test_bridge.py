"""How long a bridge may take to let its clients go."""

from __future__ import annotations

import pytest

from bus.config.bridge import BridgeSettings


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
