"""What the bridge knows of the market: states, ages, feeds."""

from __future__ import annotations

import pytest

from tests.wsbridge.makers import (
    SECOND_NS,
    T0_NS,
    deliver,
    join,
    live,
    make_bridge,
    multi,
    status,
    warm,
)


@pytest.mark.parametrize(
    ("feed_state", "age_s", "expected", "marked"),
    [
        ("live", 59, "live", False),
        ("live", 61, "stale", True),
        ("down", 1, "down", True),
        ("recovering", 1, "stale", True),
        ("closed", 3600, "closed", False),
    ],
)
def test_the_state_of_a_topic_follows_its_age_and_its_feed(
    feed_state: str, age_s: int, expected: str, marked: bool
) -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", feed_state))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"), now_ns=T0_NS + age_s * SECOND_NS)
    ack, price = client.take()
    entry = ack["topics"][0]
    assert entry["state"] == expected
    assert entry.get("age_ms") == (None if expected == "live" else age_s * 1000)
    assert price.get("stale") == (True if marked else None)
    assert price.get("age_ms") == (age_s * 1000 if marked else None)


def test_the_worse_of_feed_and_symbol_counts() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"), status("binance", "stale", symbol="BTC-USDT"))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    deliver(bridge, live("price", 1), live("price", 1, symbol="ETH-USDT"), warm("price"))
    deliver(bridge, warm("price", symbol="ETH-USDT"))
    assert [e["state"] for e in client.take()[0]["topics"]] == ["stale", "live"]


def test_an_older_status_does_not_replace_a_newer_one() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "down", 5), status("binance", "live", 4))
    assert join(bridge).take()[0]["feeds"]["binance"] == "down"
