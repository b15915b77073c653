"""States follow from facts, and each change is said exactly once."""

from __future__ import annotations

from typing import Any

import pytest

from bus.feeds.status import (
    ConnectionFacts,
    Patience,
    StatusBoard,
    SymbolFacts,
    Verdict,
    judge_feed,
    judge_symbol,
)
from bus.model import Status
from tests.feeds.tap import Statuses

OPEN = ConnectionFacts(open=True, was_live=True)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (ConnectionFacts(), "connecting"),
        (ConnectionFacts(failures=3, reason="unreachable"), "connecting"),
        (ConnectionFacts(failures=4, reason="unreachable"), "down"),
        (ConnectionFacts(was_live=True, failures=1, reason="closed"), "recovering"),
        (ConnectionFacts(was_live=True, failures=4, reason="closed"), "down"),
        (ConnectionFacts(failures=1, fatal=True, reason="unauthorized"), "down"),
    ],
)
def test_a_lost_connection_decides_for_its_symbols(facts: ConnectionFacts, state: str) -> None:
    verdict = judge_symbol(facts, SymbolFacts(has_data=True))
    assert (verdict.state, verdict.reason) == (state, facts.reason)


@pytest.mark.parametrize(
    ("facts", "state", "reason"),
    [
        ({}, "connecting", "subscribing"),
        ({"was_live": True}, "recovering", "subscribing"),
        ({"has_data": True}, "live", "data"),
        ({"has_data": True, "stale": ("depth",)}, "stale", "silent"),
        ({"stale": ("trade",)}, "stale", "silent"),
        ({"has_data": True, "book_lost": "connected"}, "connecting", "connected"),
        ({"has_data": True, "book_lost": "gap", "was_live": True}, "recovering", "gap"),
        ({"rejected": "no such symbol", "has_data": True}, "down", "unknown_symbol"),
        ({"market_closed": True, "stale": ("trades",)}, "closed", "market_closed"),
        ({"market_closed": True}, "closed", "market_closed"),
        ({"market_closed": True, "has_data": True}, "live", "data"),  # after hours, still trading
    ],
)
def test_the_state_of_a_symbol(facts: dict[str, Any], state: str, reason: str) -> None:
    verdict = judge_symbol(OPEN, SymbolFacts(**facts))
    assert (verdict.state, verdict.reason) == (state, reason)


def test_a_feed_is_live_when_one_symbol_is() -> None:
    verdict = judge_feed([OPEN], [Verdict("stale", "silent"), Verdict("live", "data")])
    assert verdict == Verdict("live", "data", "1 stale, 1 live")


def test_a_feed_of_silent_symbols_is_stale() -> None:
    assert judge_feed([OPEN], [Verdict("stale", "silent")] * 2).state == "stale"


def test_the_worst_connection_decides_for_the_feed() -> None:
    lost = ConnectionFacts(failures=9, reason="unreachable")
    waiting = ConnectionFacts(reason="starting")
    verdict = judge_feed([OPEN, waiting, lost], [Verdict("live", "data")])
    assert (verdict.state, verdict.reason) == ("down", "unreachable")


def test_a_feed_without_symbols_is_live_when_connected() -> None:
    assert judge_feed([OPEN], []).state == "live"


def test_a_change_is_said_once_with_the_time_its_state_began() -> None:
    said = Statuses()
    board = StatusBoard(said)
    assert (board.state(), board.reason()) == (None, "")
    assert board.say("", Verdict("connecting", "starting"), 1)
    assert not board.say("", Verdict("connecting", "starting"), 2)
    assert board.say("", Verdict("connecting", "subscribing"), 3)
    assert board.say("", Verdict("live", "data", "2 live"), 4)
    assert [status.since_ts_ns for _, status in said.said] == [1, 1, 4]
    assert (board.state(), board.reason()) == ("live", "data")


def test_a_new_detail_is_published_but_is_no_change() -> None:
    said = Statuses()
    board = StatusBoard(said)
    board.say("A", Verdict("live", "data", "2 live"), 1)
    assert not board.say("A", Verdict("live", "data", "3 live"), 2)
    assert said.last("A") == Status("live", "data", 1, "3 live")
    assert board.symbols() == ["A"]


def test_late_events_make_a_symbol_stale() -> None:
    connection = ConnectionFacts(open=True, late="events come more than 5 s late")
    verdict = judge_symbol(connection, SymbolFacts(has_data=True))
    assert (verdict.state, verdict.reason) == ("stale", "late")


def test_patience_ends_after_so_long_without_anything_that_a_restart_may_cure() -> None:
    down = Verdict("down", "unreachable")
    patience = Patience(10.0, 0.0)
    assert not patience.is_over(down, 10.0)
    assert patience.is_over(down, 10.1)
    assert not patience.is_over(Verdict("live", "data"), 11.0)
    assert not patience.is_over(down, 21.0)
    assert patience.is_over(down, 21.1)
    for incurable in (Verdict("down", "unauthorized"), Verdict("down", "symbols")):
        assert not patience.is_over(incurable, 99.0)
    assert not Patience(0.0, 0.0).is_over(down, 10**9)
