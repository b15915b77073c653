"""One bus batch to many clients: order, one write each, nothing merged, faults survived."""

from __future__ import annotations

from bus.client.deliveries import EpochChanged, GapFound, Message
from bus.model import Trade
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    BTC_PRICE,
    EPOCH,
    deliver,
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


def test_trades_are_never_merged_or_dropped_in_a_batch() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, warm("trades"))
    deliver(bridge, *[live("trades", n, body=Trade(1.0, 1.0)) for n in range(1, 257)])
    assert seqs(client.take(), "trades.BTC") == list(range(1, 257))
