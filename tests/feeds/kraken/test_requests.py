"""What is said to Kraken, in order and numbered."""

from __future__ import annotations

import json
from typing import Any

from bus.clock import monotonic_ns
from bus.feeds.kraken.requests import PING_EVERY_NS, Requests


def read(texts: list[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in texts]


def test_many_pairs_share_a_request_and_every_channel_has_its_own() -> None:
    requests = Requests(100)
    streams = [f"A{number}/USD@book" for number in range(60)] + ["A0/USD@trade"]
    said = read(requests.change("subscribe", streams))
    assert [len(one["params"]["symbol"]) for one in said] == [50, 10, 1]
    assert [one["params"]["channel"] for one in said] == ["book", "book", "trade"]
    assert [one["req_id"] for one in said] == [1, 2, 3]
    assert said[0]["params"]["depth"] == 100
    assert said[2]["params"]["snapshot"] is True  # its last trades: some may have been missed


def test_to_leave_a_book_its_depth_is_named() -> None:
    (said,) = read(Requests(10).change("unsubscribe", ["BTC/USD@book"]))
    assert said["method"] == "unsubscribe"
    assert said["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}


def test_pairs_that_did_not_come_are_asked_for_again() -> None:
    requests = Requests(10)
    assert [one["method"] for one in read(requests.list_pairs())] == ["subscribe"]
    again = read(requests.list_pairs(again=True))
    assert [one["method"] for one in again] == ["unsubscribe", "subscribe"]


def test_a_ping_is_due_after_half_a_minute_of_saying_nothing() -> None:
    requests = Requests(10)
    requests.list_pairs()
    now_ns = monotonic_ns()
    assert not requests.ping_due(now_ns)
    assert requests.ping_due(now_ns + PING_EVERY_NS)
    assert json.loads(requests.ping()) == {"method": "ping", "req_id": 2}
