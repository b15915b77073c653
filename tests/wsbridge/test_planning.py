"""From requests to what they take: forms of a book, wildcards in every spelling, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wsbridge.makers import T0_NS, WAIT_NS, deliver, full, live, make_bridge, multi, warm


@pytest.mark.parametrize(
    ("request_fields", "topics"),
    [
        ({"symbols": ["*"]}, ["price.*"]),
        ({"symbols": ["*"], "stream_type": ["trades", "quote"]}, ["trades.*", "quote.*"]),
        ({"symbols": ["btc"], "stream_type": "*"}, ["*.BTC"]),
        ({"topics": ["book.*", "price.BTC"]}, ["price.BTC", "orderbook.*"]),
        ({"topics": ["*.*"]}, ["*.*"]),
        ({"topics": ["news.*"]}, ["news.*"]),
        ({"topics": ["price.*@sim"]}, ["price.*@sim"]),
    ],
)
def test_wildcards_in_every_spelling(request_fields: dict[str, Any], topics: list[str]) -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", **request_fields)
    bridge.sweep(T0_NS + WAIT_NS)
    (ack,) = client.take()
    assert [entry["topic"] for entry in ack["topics"]] == topics
    assert ack["rejected"] == []
    (bye,) = client.say(action="unsubscribe", **request_fields)
    assert [entry["topic"] for entry in bye["topics"]] == topics
    assert bye["count"] == 0
    assert bridge.subscriptions.channel_count == 0


def test_book_delta_asks_for_the_changes_of_a_book() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", symbols=["BTC"], stream_type="orderbook", book="delta")
    bridge.sweep(T0_NS + WAIT_NS)
    assert client.take()[0]["topics"][0]["topic"] == "orderbook.BTC#delta"
    fixed = full(bridge, "/ws/market/BTC/orderbook/?book=delta")
    bridge.sweep(T0_NS + 2 * WAIT_NS)
    fixed.take()
    fixed.say(action="subscribe", symbols=["BTC"], stream_type="orderbook")
    bridge.sweep(T0_NS + 4 * WAIT_NS)
    (ack, *_) = fixed.take()
    assert (ack["topics"][0]["topic"], ack["topics"][0]["already"]) == ("orderbook.BTC#delta", True)
    (refusal,) = fixed.say(action="subscribe", topics=["*.*"])
    assert refusal["code"] == "fixed_subscription"


def test_a_stream_that_its_feed_never_serves_is_refused_and_not_pending() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    (ack,) = client.say(action="subscribe", topics=["orderbook.AAPL"])
    assert [(r["topic"], r["code"]) for r in ack["rejected"]] == [
        ("orderbook.AAPL", "stream_unknown")
    ]
    assert "finnhub" in ack["rejected"][0]["message"]


def test_what_must_not_be_pending_is_rejected() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"], allow_pending=False)
    deliver(bridge, live("price", 1), warm("price"))
    bridge.sweep(T0_NS + WAIT_NS)
    ack = client.take()[0]
    assert [entry["topic"] for entry in ack["topics"]] == ["price.BTC"]
    assert [(r["topic"], r["code"]) for r in ack["rejected"]] == [("price.ETH", "symbol_unknown")]
    assert ack["count"] == 1


def test_a_snapshot_of_a_wildcard_is_each_topics_last_value() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="snapshot", topics=["*.BTC"])
    for stream in ("price", "quote", "orderbook", "ticker", "trades"):
        deliver(bridge, live(stream, 1), warm(stream))
    got = client.take()
    assert sorted(m["topic"] for m in got[:-1]) == [
        "orderbook.BTC", "price.BTC", "quote.BTC", "ticker.BTC", "trades.BTC",
    ]  # fmt: skip
    assert (got[-1]["type"], got[-1]["sent"], got[-1]["empty"]) == ("snapshot_end", 5, [])
    assert bridge.subscriptions.channel_count == 0
