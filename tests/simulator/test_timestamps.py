"""Times as venues write them."""

from __future__ import annotations

import pytest

from bus.simulator.timestamps import rfc3339


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1659626705_010758999, "2022-08-04T15:25:05.010758Z"),
        (1659626705_000000000, "2022-08-04T15:25:05.000000Z"),
    ],
)
def test_microseconds_are_always_written(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text
