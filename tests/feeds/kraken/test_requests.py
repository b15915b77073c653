"""Saying things to Kraken, in order and numbered."""

from __future__ import annotations

import json
from typing import Any

from bus.clock import monotonic_ns
from bus.feeds.kraken.requests import PING_EVERY_NS, Requests
from tests.feeds.coinbase.test_connection import Wire


def said(wire: Wire) -> list[dict[str, Any]]:
    return [json.loads(message) for message in wire.sent]


async def test_many_pairs_share_a_request() -> None:
    wire, requests = Wire(), Requests(100)
    pairs = [f"A{number}/USD" for number in range(60)]
    await requests.subscribe(wire.as_session(), wire.as_link(), pairs, ["book"])
    assert [len(one["params"]["symbol"]) for one in said(wire)] == [50, 10]
    assert [one["req_id"] for one in said(wire)] == [1, 2]
    assert all(one["params"]["depth"] == 100 for one in said(wire))


async def test_again_is_unsubscribe_then_subscribe() -> None:
    wire, requests = Wire(), Requests(10)
    await requests.again(wire.as_session(), wire.as_link(), "BTC/USD", ["book"])
    assert [one["method"] for one in said(wire)] == ["unsubscribe", "subscribe"]
    await requests.list_pairs(wire.as_session(), wire.as_link(), again=True)
    assert [one["method"] for one in said(wire)][2:] == ["unsubscribe", "subscribe"]


async def test_a_ping_is_due_after_half_a_minute_of_saying_nothing() -> None:
    wire, requests = Wire(), Requests(10)
    await requests.list_pairs(wire.as_session(), wire.as_link())
    now_ns = monotonic_ns()
    assert not requests.ping_due(now_ns)
    assert requests.ping_due(now_ns + PING_EVERY_NS)
    await requests.ping(wire.as_session(), wire.as_link())
    assert said(wire)[-1] == {"method": "ping", "req_id": 2}
