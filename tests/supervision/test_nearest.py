"""A mistyped name finds the one that was meant, or none."""

from __future__ import annotations

from bus.supervision.nearest import nearest


def test_a_mistyped_name_finds_its_neighbour() -> None:
    names = ["broker", "feed.binance", "feed.finnhub", "bridge.1"]
    assert nearest("feed.binanse", names) == "feed.binance"
    assert nearest("brokr", names) == "broker"
    assert nearest("finnhub", names) == "feed.finnhub"
    assert nearest("zzzzzz", names) == ""
