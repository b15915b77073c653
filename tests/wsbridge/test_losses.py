"""What the source left out is told to who follows it: trades a feed has lost, changes of a book."""

from __future__ import annotations

import pytest

from bus.client.deliveries import Message
from bus.model import Depth, Status
from bus.model.topic import Topic
from bus.model.trade_loss import TRADES_LOST, loss_text
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    T0_NS,
    deliver,
    frame_of,
    full,
    live,
    make_bridge,
    multi,
    types,
    warm,
)


def lost(seq: int, count: int, first: int = 1, *, symbol: str = "BTC-USDT") -> Message:
    """A feed states that trades of a symbol are lost."""
    topic = Topic.status("binance", symbol)
    text = loss_text(count, first, first + count - 1, "the venue does not list them")
    body = Status("live", TRADES_LOST, T0_NS, text)
    return Message("live", topic.key, EPOCH, seq, frame_of(topic, seq, body))


@pytest.mark.parametrize("conflate_ms", [0, 1000])
def test_lost_trades_are_a_gap_once(conflate_ms: int) -> None:
    bridge, _ = make_bridge()
    client, legacy, other = full(bridge), multi(bridge), full(bridge)
    for one in (client, legacy):
        one.say(action="subscribe", topics=["trades.BTC"], conflate_ms=conflate_ms)
    other.say(action="subscribe", topics=["trades.ETH", "price.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    for one in (client, legacy, other):
        one.take()
    deliver(bridge, lost(1, 30))
    (gap,) = client.take()
    assert gap["type"] == "gap"
    assert (gap["topic"], gap["epoch"], gap["reason"]) == (
        "trades.BTC",
        epoch_text(EPOCH),
        "feed",
    )
    assert (gap["from"], gap["to"], gap["count"]) == (2, 1, 30), "no message is missing"
    assert legacy.take() == []
    assert other.take() == []
    deliver(bridge, lost(2, 30))
    assert client.take() == [], "the same loss, said again"
    deliver(bridge, lost(3, 2, first=500), lost(4, 4, first=600))
    assert [one["count"] for one in client.take()] == [2, 4]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_gap_stands_where_the_feed_said_so(codec: str) -> None:
    """Within one batch of the bus: after the trades before its word, before those after it."""
    bridge, _ = make_bridge()
    client, batching = full(bridge, codec=codec), full(bridge, codec=codec)
    batching.say(action="set", batch_ms=100)
    for one in (client, batching):
        one.say(action="subscribe", topics=["trades.BTC", "trades.ETH"])
    deliver(bridge, live("trades", 1), warm("trades"), warm("trades", symbol="ETH-USDT"))
    for one in (client, batching):
        one.take()
    ether = live("trades", 1, symbol="ETH-USDT")
    deliver(bridge, live("trades", 2), ether, lost(1, 30), live("trades", 3), live("trades", 4))
    bridge.run_due(T0_NS + 200_000_000)
    for one in (client, batching):
        said = [m for m in one.take() if m.get("topic") == "trades.BTC"]
        assert types(said) == ["trade", "gap", "trade", "trade"]
        assert (said[1]["from"], said[1]["to"]) == (3, 2)
        assert [m["seq"] for m in said if "seq" in m] == [2, 3, 4]


def test_a_change_of_a_book_that_does_not_continue_it_is_a_gap_and_then_a_new_book() -> None:
    bridge, _ = make_bridge()
    client, merging = full(bridge), full(bridge)
    client.say(action="subscribe", topics=["orderbook.BTC#delta"])
    merging.say(action="subscribe", topics=["orderbook.BTC#delta"], conflate_ms=1000)

    def depth(seq: int, first: int, last: int, *, whole: bool = False) -> Message:
        return live("depth", seq, body=Depth(first, last, [(99.0, float(seq))], [], whole))

    deliver(bridge, depth(1, 10, 10, whole=True), warm("depth"))
    client.take()
    merging.take()
    deliver(bridge, depth(2, 11, 11), depth(3, 13, 13), depth(4, 14, 14))
    change, gap = client.take()
    assert (change["seq"], change["delta"]) == (2, True)
    assert (gap["type"], gap["from"], gap["to"], gap["count"]) == ("gap", 3, 3, 1)
    assert gap["reason"] == "feed"
    assert [one["data"]["last_update_id"] for one in merging.take()] == [11]
    deliver(bridge, depth(5, 20, 20, whole=True), depth(6, 21, 21), now_ns=T0_NS + 1)
    reset, book, change = client.take()
    assert (reset["type"], reset["reason"]) == ("reset", "feed_resync")
    assert (book["seq"], book["snapshot"], "delta" in book) == (5, True, False)
    assert (change["seq"], change["data"]["first_update_id"]) == (6, 21)
    bridge.run_due(T0_NS + 2_000_000_000)
    assert types(merging.take()) == ["reset", "orderbook"]
