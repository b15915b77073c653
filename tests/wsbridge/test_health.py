"""What clients are told unasked: feeds, stale topics, heartbeats."""

from __future__ import annotations

import pytest

from tests.wsbridge.makers import (
    SECOND_NS,
    T0_NS,
    deliver,
    full,
    live,
    make_bridge,
    multi,
    status,
    types,
    warm,
)


def test_a_feeds_change_reaches_who_has_a_topic_of_it_and_wants_to_know() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    one, other, compat, asked = full(bridge), full(bridge), multi(bridge), multi(bridge)
    asked.say(action="set", events="all")
    for client in (one, compat, asked):
        client.say(action="subscribe", topics=["price.BTC"])
    other.say(action="subscribe", topics=["price.AAPL"])
    deliver(bridge, warm("price"), warm("price", symbol="AAPL"))
    for client in (one, other, compat, asked):
        client.take()
    deliver(bridge, status("binance", "down", 2))
    for client in (one, asked):
        (told,) = client.take()
        assert (told["type"], told["feed"], told["state"]) == ("status", "binance", "down")
    assert other.take() == compat.take() == []
    deliver(bridge, status("binance", "down", 3))
    assert one.take() == [], "only changes"


def test_a_topic_grows_stale_at_its_ttl_and_is_live_again() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    client = full(bridge)
    client.say(action="subscribe", topics=["price.BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    client.take()
    bridge.sweep(T0_NS + 60 * SECOND_NS)
    stale = [m for m in client.take() if m["type"] == "status"]
    assert stale == []
    bridge.sweep(T0_NS + 61 * SECOND_NS)
    (told,) = [m for m in client.take() if m["type"] == "status"]
    assert (told["scope"], told["topic"], told["state"]) == ("topic", "price.BTC", "stale")
    assert (told["age_ms"], told["ttl_ms"]) == (61_000, 60_000)
    bridge.sweep(T0_NS + 62 * SECOND_NS)
    assert [m for m in client.take() if m["type"] == "status"] == []
    now_ns = T0_NS + 63 * SECOND_NS
    deliver(bridge, live("price", 2, at_ns=now_ns), now_ns=now_ns)
    bridge.sweep(now_ns + SECOND_NS)
    states = [m["state"] for m in client.take() if m["type"] == "status"]
    assert states == ["live"]


@pytest.mark.parametrize("is_stale", [True, False])
def test_who_came_while_the_feed_was_down_hears_how_its_topics_stand(is_stale: bool) -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    first, other = (full(bridge, "/ws/v1/?heartbeat_ms=0") for _ in range(2))
    first.say(action="subscribe", topics=["price.BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    bridge.sweep(T0_NS + 61 * SECOND_NS)
    now_ns = T0_NS + 62 * SECOND_NS
    deliver(bridge, status("binance", "down", 2), now_ns=now_ns)
    bridge.sweep(now_ns + SECOND_NS)
    ack = other.say(now_ns + SECOND_NS, action="subscribe", topics=["price.BTC"])[0]
    assert ack["topics"][0]["state"] == "down"
    first.take()
    now_ns += 2 * SECOND_NS
    deliver(bridge, status("binance", "live", 3), now_ns=now_ns)
    if not is_stale:
        deliver(bridge, live("price", 2, at_ns=now_ns), now_ns=now_ns)
    for turn in range(4):
        bridge.sweep(now_ns + turn * SECOND_NS)
    for client in (first, other):
        told = [(m["scope"], m["state"]) for m in client.take() if m["type"] == "status"]
        assert told == [("feed", "live"), ("topic", "stale" if is_stale else "live")]


def test_many_topics_are_looked_at_some_at_a_time_and_each_is_told_once() -> None:
    symbols = [f"S{number:03d}-USDT" for number in range(150)]
    listed = ",".join(f'"{symbol}"' for symbol in symbols)
    bridge, _ = make_bridge(f"feeds.binance.symbols=[{listed}]")
    client = full(bridge, "/ws/v1/?heartbeat_ms=0")
    client.say(action="subscribe", topics=[f"price.{symbol}" for symbol in symbols])
    for symbol in symbols:
        deliver(bridge, live("price", 1, symbol=symbol), warm("price", symbol=symbol))
    client.take()
    told: list[list[str]] = []
    for turn in range(12):
        bridge.sweep(T0_NS + 61 * SECOND_NS + turn * 50_000_000)
        told.append([message["topic"] for message in client.take()])
    assert [len(some) for some in told] == [64, 64, 22, *[0] * 9]
    assert len({topic for some in told for topic in some}) == 150


def test_no_topic_is_stale_while_the_market_is_closed() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "closed"))
    client = full(bridge, "/ws/v1/?heartbeat_ms=0")
    client.say(action="subscribe", topics=["price.BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    client.take()
    bridge.sweep(T0_NS + 3600 * SECOND_NS)
    assert client.take() == []


def test_heartbeats_carry_the_feeds_and_the_lag_of_this_bridge() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    client = full(bridge, "/ws/v1/?heartbeat_ms=1000")
    client.say(action="subscribe", topics=["price.BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    deliver(bridge, live("price", 2), now_ns=T0_NS + 5_000_000)
    client.take()
    bridge.sweep(T0_NS + SECOND_NS)
    (beat,) = client.take()
    assert (beat["type"], beat["n"], beat["interval_ms"]) == ("heartbeat", 1, 1000)
    assert beat["feeds"] == {
        "binance": {"state": "live", "age_ms": 995},
        "finnhub": {"state": "connecting", "age_ms": None},
    }
    assert 5_000 <= beat["lag_us"] <= 5_700
    bridge.sweep(T0_NS + 2 * SECOND_NS)
    assert client.take()[0]["n"] == 2
    (told,) = client.say(T0_NS + 2 * SECOND_NS, action="set", id=1, heartbeat_ms=0)
    assert (told["status"], told["heartbeat_ms"], told["id"]) == ("updated", 0, 1)
    bridge.sweep(T0_NS + 9 * SECOND_NS)
    assert types(client.take()) == []


def test_the_compat_profile_has_no_heartbeat_unless_it_asks() -> None:
    bridge, _ = make_bridge()
    silent, asking = multi(bridge), multi(bridge)
    asking.say(action="set", heartbeat_ms=1000)
    bridge.sweep(T0_NS + 20 * SECOND_NS)
    assert silent.take() == []
    assert types(asking.take()) == ["heartbeat"]
