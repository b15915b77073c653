"""A running feed's symbols, changed: told to the feed, kept for its next start, told to bridges."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from bus.config import load
from bus.supervision.control_client import RefusedError, ask
from bus.testing import wait_until
from tests.supervision.conftest import Driven


def change(bus: Driven, verb: str, *symbols: str, feed: str = "binance") -> dict[str, Any]:
    answer: dict[str, Any] = ask(
        bus.run_dir,
        "command",
        name=f"feed.{feed}",
        command=f"{verb}_symbols",
        arguments={"symbols": list(symbols)},
        wait_s=10,
    )
    return answer


def in_force(bus: Driven) -> tuple[str, ...]:
    return load(bus.run_dir / "effective.toml").feeds["binance"].symbols


def test_a_symbol_that_was_added_is_there_after_a_crash(played_bus: Driven) -> None:
    before = in_force(played_bus)
    answer = change(played_bus, "add", "DOGE-USDT", "NO-USDT")
    try:
        assert answer["result"]["symbols"] == [*before, "DOGE-USDT"]
        assert answer["result"]["refused"] == [
            {"symbol": "NO-USDT", "reason": "not listed", "nearest": "YES"}
        ]
        assert answer["recorded"]
        assert in_force(played_bus) == (*before, "DOGE-USDT"), "and not what was refused"
        assert answer["changed"]
        assert '"DOGE-USDT"' in answer["lines"]
        old = played_bus.pid("feed.binance")
        os.kill(old, signal.SIGKILL)
        played_bus.wait_new_pid("feed.binance", old)
        wait_until(lambda: "DOGE" in str(played_bus.row("feed.binance")["counters"]))
    finally:
        change(played_bus, "remove", "DOGE-USDT")
    assert in_force(played_bus) == before


def test_bridges_are_told_and_those_that_cannot_be_are_named(played_bus: Driven) -> None:
    answer = change(played_bus, "add", "XRP-USDT")
    try:
        told = ask(played_bus.run_dir, "command", name="bridge.1", command="told", wait_s=5)
        assert "XRP-USDT" in told["result"]["told"][-1]
        assert answer["uninformed"] == ["bridge.2"]
    finally:
        change(played_bus, "remove", "XRP-USDT")


def test_a_symbol_another_feed_publishes_is_refused(played_bus: Driven) -> None:
    with pytest.raises(RefusedError, match="the feed binance publishes sim/BTC-USDT"):
        change(played_bus, "add", "BTC-USDT", feed="finnhub")
    answer = change(played_bus, "add", "BTC-USDT", "AMZN", feed="finnhub")
    try:
        assert [each["symbol"] for each in answer["result"]["refused"]] == ["BTC-USDT"]
        assert "AMZN" in answer["result"]["symbols"]
    finally:
        change(played_bus, "remove", "AMZN", feed="finnhub")
