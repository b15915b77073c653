"""What is said of the feeds' data, whatever the processes do."""

from __future__ import annotations

from typing import Any

import pytest

from bus.supervision.data_state import data_in_words, data_of, data_problems


def row(name: str, **facts: Any) -> dict[str, Any]:
    return {
        "name": f"feed.{name}",
        "kind": "feed",
        "state": "ready",
        "wanted": True,
        "counters": {"state": "live", "reason": "data"},
        **facts,
    }


def says(state: str, reason: str = "") -> dict[str, Any]:
    return {"counters": {"state": state, "reason": reason}}


def test_feeds_that_are_live_need_no_words() -> None:
    data = data_of([row("a"), row("b"), {**row("x"), "kind": "bridge", **says("down")}])
    assert data["live"]
    assert [feed["name"] for feed in data["feeds"]] == ["feed.a", "feed.b"]
    assert (data_in_words(data), data_problems(data)) == ("", [])


def test_each_feed_that_is_not_is_named_with_its_reason() -> None:
    data = data_of([row("a", **says("down", "dns_failure")), row("b"), row("c", **says("stale"))])
    assert not data["live"]
    assert data_in_words(data) == "a down (dns_failure), c stale"
    assert data_problems(data) == [
        {"name": "feed.a", "reason": "data is down (dns_failure)"},
        {"name": "feed.c", "reason": "data is stale"},
    ]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"counters": {}}, "a connecting"),
        ({"state": "backoff"}, "a down (process)"),
        ({"wanted": False, "state": "stopped"}, ""),
    ],
)
def test_a_feed_that_says_nothing_is_not_live_unless_it_was_stopped(
    facts: dict[str, Any], words: str
) -> None:
    data = data_of([row("a", **facts)])
    assert data_in_words(data) == words
    assert data["live"] == (not words)


def test_a_shut_market_is_shown_and_nobodys_fault() -> None:
    data = data_of([row("a", **says("closed", "market_closed"))])
    assert data["live"]
    assert data_in_words(data) == "a closed (market_closed)"
    assert data_problems(data) == []


def test_many_feeds_fit_a_line() -> None:
    data = data_of([row(f"f{number}", **says("down")) for number in range(7)])
    assert data_in_words(data) == "f0 down, f1 down, f2 down, f3 down, 3 more"
