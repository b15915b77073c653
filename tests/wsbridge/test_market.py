"""What the bridge knows of the market: states, ages, feeds."""

from __future__ import annotations

import pytest

from bus.model import Depth
from bus.wsbridge.messages import Position, epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    SECOND_NS,
    T0_NS,
    deliver,
    full,
    join,
    live,
    make_bridge,
    multi,
    seqs,
    status,
    warm,
)


@pytest.mark.parametrize(
    ("feed_state", "age_s", "expected", "marked"),
    [
        ("live", 59, "live", False),
        ("live", 61, "stale", True),
        ("down", 1, "down", True),
        ("recovering", 1, "stale", True),
        ("closed", 3600, "closed", False),
    ],
)
def test_the_state_of_a_topic_follows_its_age_and_its_feed(
    feed_state: str, age_s: int, expected: str, marked: bool
) -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", feed_state))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"), now_ns=T0_NS + age_s * SECOND_NS)
    ack, price = client.take()
    entry = ack["topics"][0]
    assert entry["state"] == expected
    assert entry.get("age_ms") == (None if expected == "live" else age_s * 1000)
    assert price.get("stale") == (True if marked else None)
    assert price.get("age_ms") == (age_s * 1000 if marked else None)


def test_the_worse_of_feed_and_symbol_counts() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"), status("binance", "stale", symbol="BTC-USDT"))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    deliver(bridge, live("price", 1), live("price", 1, symbol="ETH-USDT"), warm("price"))
    deliver(bridge, warm("price", symbol="ETH-USDT"))
    assert [e["state"] for e in client.take()[0]["topics"]] == ["stale", "live"]


def test_an_older_status_does_not_replace_a_newer_one() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "down", 5), status("binance", "live", 4))
    assert join(bridge).take()[0]["feeds"]["binance"] == "down"


EXPIRING = "bridge.expire=true"


@pytest.mark.parametrize(("age_s", "is_given"), [(59, True), (61, False)])
def test_with_expire_a_value_past_its_ttl_is_not_given(age_s: int, is_given: bool) -> None:
    bridge, _ = make_bridge(EXPIRING)
    client = full(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    at_ns = T0_NS + age_s * SECOND_NS
    deliver(bridge, live("price", 1), warm("price"), now_ns=at_ns)
    ack, *rest = client.take()
    assert ack["topics"][0]["state"] == ("live" if is_given else "stale")
    assert ack["topics"][0]["snapshot"] is is_given
    assert [one["empty"] for one in rest if one["type"] == "snapshot_end"] == [
        [] if is_given else ["price.BTC"]
    ]
    assert seqs(rest) == ([1] if is_given else [])
    got = client.say(at_ns, action="snapshot", symbols=["BTC"])
    assert seqs(got) == ([1] if is_given else [])
    deliver(bridge, live("price", 2, at_ns=at_ns), now_ns=at_ns)
    assert seqs(client.take()) == [2], "what is new comes in any case"


def test_with_expire_nothing_old_is_recovered_and_old_trades_are_no_history() -> None:
    bridge, _ = make_bridge(EXPIRING, "bridge.trades_ttl_s=10")
    client = full(bridge)
    client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    deliver(bridge, live("price", 1), live("price", 2), warm("price"))
    late_ns = T0_NS + 61 * SECOND_NS
    old = live("trades", 1)
    deliver(bridge, old, live("trades", 2, at_ns=late_ns), warm("trades"), now_ns=late_ns)
    client.take()
    other = full(bridge)
    since = {"price.BTC": {"epoch": epoch_text(EPOCH), "seq": 1}}
    ack, *rest = other.say(late_ns, action="subscribe", topics=["price.BTC"], since=since)
    entry = ack["topics"][0]
    assert (entry["recovered"], entry["reason"]) == (False, "evicted")
    assert seqs(rest) == []
    got = other.say(late_ns, action="snapshot", topics=["trades.BTC"], history=10)
    assert seqs(got, "trades.BTC") == [2]


def test_with_expire_a_closed_market_keeps_its_last_value() -> None:
    bridge, _ = make_bridge(EXPIRING)
    deliver(bridge, status("binance", "closed"))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    at_ns = T0_NS + 3600 * SECOND_NS
    deliver(bridge, live("price", 1), warm("price"), now_ns=at_ns)
    ack, price = client.take()
    assert (ack["topics"][0]["state"], price["seq"]) == ("closed", 1)


def test_with_expire_the_book_that_changes_apply_to_still_comes() -> None:
    bridge, _ = make_bridge(EXPIRING)
    client = full(bridge)
    client.say(action="subscribe", topics=["orderbook.BTC#delta"])
    whole = Depth(10, 10, [(99.0, 1.0)], [], True)
    at_ns = T0_NS + 60 * SECOND_NS
    deliver(bridge, live("depth", 1, body=whole), warm("depth"), now_ns=at_ns)
    book = client.take()[1]
    assert (book["snapshot"], book["stale"], book["age_ms"]) == (True, True, 60_000)


def test_a_symbol_may_have_a_ttl_of_its_own() -> None:
    bridge, _ = make_bridge('bridge.ttl_s={"price.BTC" = 5, "trades.ETH-USDT" = 7}')
    deliver(bridge, status("binance", "live"))
    client = full(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    btc, eth = live("price", 1), live("price", 1, symbol="ETH-USDT")
    deliver(bridge, btc, eth, warm("price"), warm("price", symbol="ETH-USDT"))
    client.take()
    bridge.sweep(T0_NS + 6 * SECOND_NS)
    (told,) = client.take()
    assert (told["topic"], told["state"], told["ttl_ms"]) == ("price.BTC", "stale", 5000)
    bridge.sweep(T0_NS + 61 * SECOND_NS)
    told = next(one for one in client.take() if one["type"] == "status")
    assert (told["topic"], told["ttl_ms"]) == ("price.ETH", 60_000)


@pytest.mark.parametrize(
    ("epoch", "seq", "is_behind"),
    [
        (EPOCH, 7, False),
        (EPOCH, 8, True),
        (EPOCH + 1, 1, True),
        (EPOCH - 1, 9, False),
        (36**12, 1, True),
        (0, 9, False),
    ],
)
def test_who_has_heard_a_later_publisher_has_seen_more(
    epoch: int, seq: int, is_behind: bool
) -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 7), warm("price"))
    (key,) = bridge.market.lines
    assert bridge.market.is_behind(key, Position(epoch_text(epoch), seq)) is is_behind
