"""What is said to Kraken."""

from __future__ import annotations

import json

import pytest

from bus.feeds.kraken import endpoints


def params(method: str, channel: str) -> dict[str, object]:
    said = json.loads(endpoints.request(method, channel, ["BTC/USD"], 100, 7))
    assert (said["method"], said["req_id"]) == (method, 7)
    found: dict[str, object] = said["params"]
    return found


def test_every_default_is_spelled_out() -> None:
    assert params("subscribe", "trade") == {
        "channel": "trade",
        "symbol": ["BTC/USD"],
        "snapshot": True,
    }
    assert params("subscribe", "book")["depth"] == 100
    assert params("subscribe", "ticker")["event_trigger"] == "bbo"
    assert params("subscribe", "instrument") == {"channel": "instrument", "snapshot": True}


def test_unsubscribing_names_the_same_depth_and_no_snapshot() -> None:
    assert params("unsubscribe", "book") == {
        "channel": "book",
        "symbol": ["BTC/USD"],
        "depth": 100,
    }


@pytest.mark.parametrize(
    ("levels", "depth"), [(1, 10), (10, 10), (11, 25), (500, 500), (501, 1000), (5000, 1000)]
)
def test_the_least_depth_that_is_enough(levels: int, depth: int) -> None:
    assert endpoints.book_depth(levels) == depth


def test_a_ping_has_a_number() -> None:
    assert json.loads(endpoints.ping(101)) == {"method": "ping", "req_id": 101}
