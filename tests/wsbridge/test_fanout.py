"""One bus batch to many clients: order, one write each, nothing merged, faults survived."""

from __future__ import annotations

from typing import Any

import pytest

from bus.client.deliveries import EpochChanged, GapFound, Message
from bus.model import Trade
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    BTC_PRICE,
    EPOCH,
    T0_NS,
    deliver,
    full,
    live,
    make_bridge,
    multi,
    seqs,
    warm,
)


def test_a_batch_is_one_write_for_each_client() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    deliver(bridge, warm("price"), warm("trades"))
    writes = client.writes
    deliver(bridge, *[live(s, n) for n in range(1, 50) for s in ("price", "trades")])
    assert client.writes == writes + 1
    assert len(client.take()) == 1 + 98


def test_two_depths_of_a_book_are_two_channels() -> None:
    bridge, _ = make_bridge()
    shallow, deep = multi(bridge), multi(bridge)
    shallow.say(action="subscribe", topics=["orderbook.BTC"], depth=1, snapshot=False)
    deep.say(action="subscribe", topics=["orderbook.BTC"], snapshot=False)
    deliver(bridge, live("orderbook", 1), warm("orderbook"))
    shallow.take()
    deep.take()
    deliver(bridge, live("orderbook", 2))
    assert len(shallow.take()[0]["data"]["bids"]) == 1
    assert len(deep.take()[0]["data"]["bids"]) == 2


def test_a_new_epoch_is_marked_on_its_first_message() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 7), warm("price"))
    client.take()
    changed = EpochChanged(BTC_PRICE, EPOCH, EPOCH + 5)
    deliver(bridge, changed, live("price", 1, epoch=EPOCH + 5), live("price", 2, epoch=EPOCH + 5))
    first, second = client.take()
    assert (first["seq"], first["epoch"], first["snapshot"]) == (1, epoch_text(EPOCH + 5), True)
    assert "epoch" not in second


def test_a_lost_message_is_counted_and_the_stream_goes_on() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    client.take()
    gap = GapFound(b"md/trades/sim/BTC-USDT/", EPOCH, 2, 3, "gone")
    deliver(bridge, gap, live("trades", 4))
    assert seqs(client.take(), "trades.BTC") == [4]
    assert bridge.fanout.gaps == 1


def test_a_malformed_message_is_skipped_and_counted() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bad = Message("live", BTC_PRICE, EPOCH, 2, BTC_PRICE + b"\0\x90")
    deliver(bridge, bad, warm("price"))
    (ack,) = client.take()
    assert ack["topics"][0]["state"] == "pending"
    deliver(bridge, Message("live", BTC_PRICE, EPOCH, 3, BTC_PRICE + b"\0\xc1"))
    deliver(bridge, live("price", 4))
    assert seqs(client.take()) == [4]
    assert bridge.fanout.malformed == 1


def test_who_comes_after_a_gap_begins_behind_it() -> None:
    """And whoever missed what is lost has not recovered it."""
    bridge, _ = make_bridge()
    full(bridge).say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    deliver(bridge, GapFound(live("trades", 1).topic, EPOCH, 2, 3, "missing"))
    since = {"trades.BTC": {"epoch": epoch_text(EPOCH), "seq": 1}}
    asked: list[tuple[dict[str, Any], bool | None]] = [({}, None), ({"since": since}, False)]
    for request, recovered in asked:
        client = full(bridge)
        entry = client.say(action="subscribe", topics=["trades.BTC"], **request)[0]["topics"][0]
        assert (entry["seq"], entry.get("recovered")) == (3, recovered)
    deliver(bridge, live("trades", 4))
    assert seqs(client.take(), "trades.BTC") == [4]


def test_a_malformed_trade_is_a_gap() -> None:
    bridge, _ = make_bridge()
    client, legacy = full(bridge), multi(bridge)
    for one in (client, legacy):
        one.say(action="subscribe", topics=["trades.BTC", "price.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"), warm("price"))
    for one in (client, legacy):
        one.take()
    key = live("trades", 1).topic
    bad = Message("live", key, EPOCH, 2, key + b"\0\xc1")
    worse = Message("live", BTC_PRICE, EPOCH, 2, BTC_PRICE + b"\0\xc1")
    deliver(bridge, bad, worse, live("trades", 3))
    assert seqs(legacy.take(), "trades.BTC") == [3]
    gap, trade = client.take()
    assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", 2, 2, "bus")
    assert trade["seq"] == 3
    assert (bridge.fanout.malformed, bridge.fanout.gaps) == (2, 1)


def test_trades_are_never_merged_or_dropped_in_a_batch() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, warm("trades"))
    deliver(bridge, *[live("trades", n, body=Trade(1.0, 1.0)) for n in range(1, 257)])
    assert seqs(client.take(), "trades.BTC") == list(range(1, 257))


def test_topics_that_the_same_clients_hold_are_joined_once() -> None:
    bridge, _ = make_bridge()
    both = [multi(bridge) for _ in range(3)]
    one = multi(bridge)
    for client in both:
        client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    one.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, warm("price"), warm("trades"))
    for client in (*both, one):
        client.take()
    for round_number in range(3):
        writes = [client.writes for client in (*both, one)]
        seq = 10 * round_number + 1
        deliver(bridge, live("price", seq), live("trades", seq), live("price", seq + 1))
        assert [client.writes for client in (*both, one)] == [count + 1 for count in writes]
        for client in both:
            got = client.take()
            assert seqs(got) == [seq, seq + 1], "each topic in its order"
            assert seqs(got, "trades.BTC") == [seq]
        assert seqs(one.take(), "trades.BTC") == [seq]
        if round_number == 1:  # from here on all four hold the same
            one.say(action="subscribe", topics=["price.BTC"], snapshot=False)
            one.take()
            both.append(one)
            one = multi(bridge)
            one.say(action="subscribe", topics=["trades.BTC"], snapshot=False)
            one.take()


@pytest.mark.parametrize("topics", [["price.BTC"], ["price.BTC", "trades.BTC"]])
def test_a_client_that_cannot_be_written_to_costs_nobody_else_anything(topics: list[str]) -> None:
    bridge, _ = make_bridge()
    clients = [multi(bridge) for _ in range(5)]
    for client in clients:
        client.say(action="subscribe", topics=["price.BTC"])
    for client in clients[3:]:
        client.say(action="subscribe", topics=topics)
    deliver(bridge, warm("price"), warm("trades"))
    broken = clients[2]
    broken.is_faulty = True
    for client in clients:
        client.take()
    deliver(bridge, live("price", 1), live("trades", 1), live("price", 2))
    assert [client.is_aborted for client in clients] == [client is broken for client in clients]
    assert bridge.fanout.faults.count == 1
    for client in clients:
        assert seqs(client.take()) == ([] if client is broken else [1, 2])


def test_who_is_behind_does_not_keep_the_others_of_its_crowd_from_theirs() -> None:
    bridge, _ = make_bridge()
    clients = [multi(bridge) for _ in range(3)]
    for client in clients:
        client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    deliver(bridge, warm("price"), warm("trades"))
    slow = clients[1]
    slow.is_stuck = True
    slow.press(T0_NS, 1_000_000)
    for client in clients:
        client.take()
    deliver(bridge, *[live(s, n) for n in range(1, 6) for s in ("price", "trades")])
    for client in (clients[0], clients[2]):
        got = client.take()
        assert (len(seqs(got)), len(seqs(got, "trades.BTC"))) == (5, 5)
    assert slow.take() == []
    caught_up = slow.drain()
    assert seqs(caught_up)[-1] == 5
    assert seqs(caught_up, "trades.BTC") == [1, 2, 3, 4, 5]
