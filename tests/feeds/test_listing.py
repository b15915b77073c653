"""Choosing among what a venue lists."""

from __future__ import annotations

import asyncio

import pytest

from bus.feeds.listing import Choice, Listed, choose, chosen

LISTED = {name: Listed(name, name.replace("-", "/")) for name in ("BTC-USD", "ETH-USD", "SOL-USD")}


def test_wanted_symbols_keep_their_order_without_repeats() -> None:
    choice = choose(["SOL-USD", "BTC-USD", "SOL-USD"], LISTED)
    assert choice == Choice((LISTED["SOL-USD"], LISTED["BTC-USD"]), {})


def test_an_unknown_one_is_refused_with_the_nearest() -> None:
    choice = choose(["ETH-UDS", "X"], LISTED)
    assert choice.instruments == ()
    assert choice.rejected["ETH-UDS"].startswith("the venue lists no ETH-UDS; nearest: ETH-USD")
    assert choice.rejected["X"] == "the venue lists no X"
    assert next(iter(choice.nearest["ETH-UDS"])) == "ETH-USD"
    assert choice.nearest["X"] == []


async def test_what_all_are_listed_needs_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["ETH-USD", "BTC-USD"]
    listed = {symbol: Listed(symbol, symbol) for symbol in wanted}
    assert await chosen(["NO-USD"], listed) == choose(["NO-USD"], listed)
    monkeypatch.setattr(asyncio, "to_thread", None)  # cannot be called
    assert await chosen(wanted, listed) == choose(wanted, listed)
