"""Answers that change nothing: the greeting, list, status, snapshot."""

from __future__ import annotations

from bus.wsbridge.inquiries import CAPABILITIES
from tests.wsbridge.makers import (
    SECOND_NS,
    T0_NS,
    deliver,
    join,
    live,
    make_bridge,
    multi,
    seqs,
    status,
    types,
    warm,
)


def test_the_greeting_says_what_is_there_and_nothing_more() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    (hello,) = join(bridge).take()
    assert (hello["type"], hello["status"], hello["profile"]) == (
        "connection", "connected", "compat",
    )  # fmt: skip
    assert hello["simulated"] is True
    assert hello["connection_id"] == "b1-000001"
    assert hello["feeds"] == {"binance": "live", "finnhub": "connecting"}
    assert hello["capabilities"] == CAPABILITIES
    assert hello["limits"]["subscriptions"] == 1024
    assert "symbol" not in hello
    live_bridge, _ = make_bridge("mode=live")
    (hello,) = join(live_bridge).take()
    assert hello["simulated"] is False


def test_list_ping_and_status() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    deliver(bridge, status("binance", "live"))
    client.say(action="subscribe", topics=["price.BTC", "trades.ETH", "news.crypto"])
    deliver(
        bridge,
        live("price", 4),
        warm("price"),
        warm("trades", symbol="ETH-USDT"),
        warm("news", symbol="crypto"),
    )
    client.take()
    (reply,) = client.say(action="list", id=3)
    assert (reply["type"], reply["id"], reply["count"]) == ("list", 3, 3)
    assert reply["subscribed"] == ["BTC", "ETH", "crypto"]
    assert [(s["topic"], s["state"], s["seq"]) for s in reply["subscriptions"]] == [
        ("price.BTC", "live", 4), ("trades.ETH", "pending", 0), ("news.crypto", "pending", 0),
    ]  # fmt: skip
    (pong,) = client.say(action="ping", ts=[1, {"a": None}], now_ns=T0_NS + 340_000)
    assert pong == {
        "type": "pong",
        "ts": [1, {"a": None}],
        "server_us": T0_NS // 1000 + 340,
        "timestamp": "2026-01-28T10:30:00.000340Z",
    }
    statuses = client.say(action="status", id=5)
    assert [(s["feed"], s["state"], s["id"]) for s in statuses] == [
        ("binance", "live", 5), ("finnhub", "connecting", 5),
    ]  # fmt: skip
    (refusal,) = client.say(action="status", feeds=["bloomberg"])
    assert (refusal["code"], refusal["field"]) == ("bad_request", "feeds")


def test_snapshot_gives_last_values_without_a_subscription() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="snapshot", id=6, topics=["price.BTC", "price.ETH", "trades.BTC"])
    deliver(
        bridge,
        live("price", 9),
        live("trades", 1),
        live("trades", 2),
        warm("price"),
        warm("trades"),
        warm("price", symbol="ETH-USDT"),
    )
    got = client.take()
    assert types(got) == ["price", "trade", "snapshot_end"]
    assert got[1]["seq"] == 2
    assert (got[2]["id"], got[2]["topics"], got[2]["sent"]) == (6, 3, 2)
    assert got[2]["empty"] == ["price.ETH"]
    deliver(bridge, live("price", 10))
    assert client.take() == []
    bridge.sweep(T0_NS + 60 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]


def test_topics_beyond_the_limit_of_a_snapshot_are_refused_one_by_one() -> None:
    bridge, _ = make_bridge("bridge.max_subscriptions=1")
    client = multi(bridge)
    topics = ["price.BTC", "price.btc", "price.ETH", "price.SOL"]
    got = client.say(action="snapshot", id=3, topics=topics)
    deliver(bridge, live("price", 9), warm("price"))
    got += client.take()
    refused = [(m["id"], m["code"], m["topic"]) for m in got if m["type"] == "error"]
    code = "limit_subscriptions"
    assert refused == [(3, code, "price.ETH"), (3, code, "price.SOL")]
    assert seqs(got) == [9]


def test_snapshot_of_a_topic_whose_feed_is_down_says_so() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    deliver(bridge, status("binance", "down"))
    got = client.say(action="snapshot", topics=["price.BTC", "price.NOPE"])
    deliver(bridge, warm("price"))
    got += client.take()
    assert [m.get("code") for m in got] == ["symbol_unknown", "feed_down", None]
    assert (got[1]["retryable"], got[1]["status"], got[1]["retry_after_ms"]) == (True, 503, 5000)
