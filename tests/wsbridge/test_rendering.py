"""Conflation, book changes, resets and recovery as a client sees them, with time moved by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.book import OrderBook
from bus.client.deliveries import GapFound, Message
from bus.model import Depth, Price
from bus.wsbridge.lines import book_checksum
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    T0_NS,
    FakeClient,
    deliver,
    full,
    live,
    make_bridge,
    multi,
    seqs,
    types,
    warm,
)

MS = 1_000_000


def depth(seq: int, first: int, last: int, bids: Any, asks: Any, *, whole: bool = False) -> Message:
    return live("depth", seq, body=Depth(first, last, bids, asks, whole))


def subscribed(codec: str = "json", **options: Any) -> tuple[Any, FakeClient]:
    bridge, _ = make_bridge()
    client = full(bridge, codec=codec)
    client.say(action="subscribe", **options)
    return bridge, client


@pytest.mark.parametrize("conflated_first", [True, False])
@pytest.mark.parametrize("deflate", [True, False])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_some_are_told_the_epoch_and_some_know_it_and_each_gets_whole_frames(
    codec: str, deflate: bool, conflated_first: bool
) -> None:
    """Of a topic that had no message yet, and then two at once: who does not wait for an interval
    has been told its epoch with the first."""
    bridge, _ = make_bridge()
    clients: dict[int, FakeClient] = {}
    for conflate_ms in sorted((0, 1_000), reverse=conflated_first):
        client = clients[conflate_ms] = FakeClient(bridge, "/ws/v1/", f"mdbus.v1.{codec}")
        client.session.profile.deflate = deflate
        client.wire = client.session.profile.wire
        bridge.opened(client, T0_NS)
        client.say(action="subscribe", topics=["trades.BTC"], conflate_ms=conflate_ms)
        deliver(bridge, warm("trades"))
    deliver(bridge, live("trades", 1), live("trades", 2))
    late = full(bridge, codec=codec)
    late.say(action="subscribe", topics=["trades.BTC"], conflate_ms=500)
    deliver(bridge, live("trades", 3), live("trades", 4))
    bridge.run_due(T0_NS + 2_000 * MS)
    for client in clients.values():
        assert seqs(client.take(), "trades.BTC") == [1, 2, 3, 4]
    assert seqs(late.take(), "trades.BTC") == [3, 4]


def test_a_conflated_price_is_sent_at_once_and_then_once_an_interval() -> None:
    bridge, client = subscribed(symbols=["BTC"], conflate_ms=200)
    deliver(bridge, live("price", 1), warm("price"))
    assert client.take()[0]["topics"][0]["conflate_ms"] == 250
    deliver(bridge, live("price", 2), now_ns=T0_NS + MS)
    assert seqs(client.take()) == [2], "the leading edge"
    for seq in range(3, 8):
        deliver(bridge, live("price", seq), now_ns=T0_NS + seq * MS)
    assert client.take() == []
    assert bridge.next_ns == T0_NS + 251 * MS
    bridge.run_due(T0_NS + 251 * MS)
    (last,) = client.take()
    assert (last["seq"], last["conflated"]) == (7, 4)
    bridge.run_due(T0_NS + 600 * MS)
    assert client.take() == [], "no change, no message"
    deliver(bridge, live("price", 8), now_ns=T0_NS + 700 * MS)
    (one,) = client.take()
    assert (one["seq"], one.get("conflated")) == (8, None)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 3)),
        st.tuples(st.just("time"), st.integers(1, 120)),
        st.tuples(st.just("join"), st.integers(0, 2)),
        st.tuples(st.just("class"), st.sampled_from([0, 50, 100])),
        st.tuples(st.just("batch"), st.sampled_from([0, 20])),
    ),
    max_size=40,
)


@given(moves)
@settings(deadline=None)
def test_whoever_joins_when_counts_add_up_and_the_last_value_always_comes(
    steps: list[tuple[str, int]],
) -> None:
    """Every client: seq only grows, conflated is exactly what was skipped, the end is the last."""
    bridge, _ = make_bridge()
    deliver(bridge, warm("price"))
    clients: list[FakeClient] = []
    logs: dict[FakeClient, list[tuple[int, int]]] = {}
    seq, now_ns = 0, T0_NS

    def collect() -> None:
        for client in clients:
            for message in client.take():
                if message["type"] == "price":
                    step = (message["seq"], message.get("conflated", 0))
                    logs[client].append((message["seq"], -1) if message.get("snapshot") else step)

    for kind, value in steps:
        if kind == "live":
            messages = [live("price", seq + 1 + n) for n in range(value)]
            seq += value
            deliver(bridge, *messages, now_ns=now_ns)
        elif kind == "time":
            now_ns += value * MS
            bridge.run_due(now_ns)
        elif kind == "join":
            client = full(bridge)
            clients.append(client)
            logs[client] = []
            client.say(
                now_ns, action="subscribe", symbols=["BTC"], conflate_ms=(0, 50, 100)[value],
            )  # fmt: skip
            deliver(bridge, warm("price"), now_ns=now_ns)
            collect()
        elif clients and kind == "class":
            bridge.received(
                clients[-1],
                b'{"action":"subscribe","symbols":["BTC"],"conflate_ms":%d}' % value,
                now_ns,
            )
        elif clients:
            bridge.received(clients[0], b'{"action":"set","batch_ms":%d}' % value, now_ns)
        collect()
    for _ in range(3):
        now_ns += 200 * MS
        bridge.run_due(now_ns)
    collect()
    for client, log in logs.items():
        held = [s for s, _ in log]
        assert held == sorted(set(held)), log
        for (before, _), (after, conflated) in itertools.pairwise(log):
            assert conflated in (-1, after - before - 1), log
        if log:
            assert log[-1][0] == seq, client


def test_trades_of_an_interval_come_together_and_none_is_dropped() -> None:
    bridge, client = subscribed(topics=["trades.BTC"], conflate_ms=50)
    deliver(bridge, warm("trades"))
    client.take()
    deliver(bridge, live("trades", 1), now_ns=T0_NS + MS)
    deliver(bridge, *[live("trades", n) for n in range(2, 6)], now_ns=T0_NS + 2 * MS)
    client.frames.clear()
    bridge.run_due(T0_NS + 60 * MS)
    assert [message["seq"] for message in client.frames[0]] == [2, 3, 4, 5]
    assert seqs(client.take(), "trades.BTC") == [1, 2, 3, 4, 5]


def test_in_the_compat_profile_they_are_consecutive_frames() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], conflate_ms=50)
    deliver(bridge, warm("trades"))
    deliver(bridge, live("trades", 1), now_ns=T0_NS + MS)
    deliver(bridge, *[live("trades", n) for n in range(2, 6)], now_ns=T0_NS + 2 * MS)
    client.frames.clear()
    bridge.run_due(T0_NS + 60 * MS)
    assert [frame["seq"] for frame in client.frames] == [2, 3, 4, 5]


class _Reader:
    """A client's book, kept by the rule of the protocol."""

    def __init__(self) -> None:
        self.book = OrderBook()
        self.last_id = 0

    def read(self, message: dict[str, Any]) -> None:
        if message["type"] != "orderbook":
            return
        data = message["data"]
        if not message.get("delta"):
            self.book.load(map(tuple, data["bids"]), map(tuple, data["asks"]))
        elif data["last_update_id"] <= self.last_id:
            return
        else:
            assert data["first_update_id"] <= self.last_id + 1 <= data["last_update_id"]
            self.book.apply(
                [tuple(one) for one in data["bids"]], [tuple(one) for one in data["asks"]]
            )
        self.last_id = data["last_update_id"]


levels = st.lists(st.tuples(st.integers(1, 6).map(float), st.integers(0, 2).map(float)), max_size=3)
book_moves = st.lists(
    st.one_of(
        st.tuples(st.just("delta"), levels),
        st.tuples(st.just("again"), st.just([])),
        st.tuples(st.just("resync"), levels),
        st.tuples(st.just("gap"), st.just([])),
        st.tuples(st.just("time"), st.just([])),
        st.tuples(st.just("join"), st.just([])),
    ),
    max_size=30,
)


@given(book_moves, st.sampled_from([0, 100]))
@settings(deadline=None)
def test_every_client_keeps_the_very_book_of_the_feed(
    steps: list[tuple[str, Any]], conflate_ms: int
) -> None:
    bridge, _ = make_bridge()
    truth = OrderBook()
    readers: dict[FakeClient, _Reader] = {}
    seq, last, now_ns = 1, 100, T0_NS

    client = full(bridge)
    readers[client] = _Reader()
    bridge.received(
        client,
        b'{"action":"subscribe","topics":["orderbook.BTC#delta"],"conflate_ms":%d}' % conflate_ms,
        now_ns,
    )
    deliver(bridge, depth(1, last, last, [], [], whole=True), warm("depth"))
    is_lost = False
    for kind, changed in steps:
        if kind == "delta":
            seq, last = seq + 1, last + 1
            truth.apply(changed, changed)
            deliver(bridge, depth(seq, last, last, changed, changed), now_ns=now_ns)
        elif kind in ("again", "resync"):
            seq += 1
            if kind == "resync":
                last += 50
                truth.load(changed, changed)
            bids, asks = truth.levels()
            deliver(bridge, depth(seq, last, last, bids, asks, whole=True), now_ns=now_ns)
            is_lost = False
        elif kind == "gap":
            seq += 2
            gap = GapFound(b"md/depth/sim/BTC-USDT/", EPOCH, seq - 1, seq, "gone")
            deliver(bridge, gap, now_ns=now_ns)
            is_lost = True
        elif kind == "time":
            now_ns += 150 * MS
            bridge.run_due(now_ns)
        else:
            newcomer = full(bridge)
            readers[newcomer] = _Reader()
            newcomer.got = newcomer.say(
                now_ns, action="subscribe", symbols=["BTC"], stream_type="orderbook",
                book="delta", conflate_ms=conflate_ms,
            )  # fmt: skip
        for one, reader in readers.items():
            for message in one.take():
                reader.read(message)
    if is_lost:
        seq, last = seq + 1, last + 9
        bids, asks = truth.levels()
        deliver(bridge, depth(seq, last, last, bids, asks, whole=True), now_ns=now_ns)
    bridge.run_due(now_ns + 500 * MS)
    for one, reader in readers.items():
        for message in one.take():
            reader.read(message)
        assert reader.book.levels() == truth.levels()
        assert reader.last_id == last


def test_a_resync_and_a_new_epoch_are_announced_before_what_starts_anew() -> None:
    bridge, client = subscribed(topics=["orderbook.BTC#delta", "price.BTC", "trades.BTC"])
    deliver(bridge, depth(1, 9, 9, [(1.0, 1.0)], [], whole=True), warm("depth"), warm("price"))
    deliver(bridge, live("price", 1), live("trades", 1), warm("trades"))
    client.take()
    deliver(bridge, depth(2, 20, 20, [(2.0, 1.0)], [], whole=True))
    reset, book = client.take()
    assert (reset["type"], reset["reason"]) == ("reset", "feed_resync")
    assert (book["snapshot"], book["seq"], book.get("delta")) == (True, 2, None)
    new = EPOCH + 7
    deliver(bridge, live("price", 1, epoch=new), live("trades", 1, epoch=new))
    got = client.take()
    assert types(got) == ["reset", "price", "reset", "trade"]
    assert {m["reason"] for m in got if m["type"] == "reset"} == {"epoch"}
    assert {m["epoch"] for m in got} == {epoch_text(new)}


def test_a_hole_on_the_bus_is_told_in_the_place_of_what_is_missing() -> None:
    bridge, client = subscribed(topics=["trades.BTC"])
    other = multi(bridge)
    other.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    client.take()
    other.take()
    gap = GapFound(b"md/trades/sim/BTC-USDT/", EPOCH, 2, 3, "gone")
    deliver(bridge, gap, live("trades", 4))
    told, trade = client.take()
    assert (told["type"], told["from"], told["to"], told["count"], told["reason"]) == (
        "gap", 2, 3, 2, "bus",
    )  # fmt: skip
    assert trade["seq"] == 4
    assert types(other.take()) == ["trade"], "compat does not know gaps"


def test_msgpack_says_the_same_as_json() -> None:
    bridge, _ = make_bridge()
    clients = [full(bridge, codec=codec) for codec in ("json", "msgpack")]
    for client in clients:
        client.say(action="subscribe", id=7, topics=["price.BTC", "trades.BTC"], history=2)
    deliver(bridge, live("price", 1), live("trades", 1), warm("price"), warm("trades"))
    deliver(bridge, live("price", 2), live("trades", 2))
    for client in clients:
        client.say(action="ping", ts={"any": [1.5, None]})
        client.say(action="list")
    one, two = (client.take() for client in clients)
    assert one == two


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1 + 0.2, "0.30000000000000004"), (1e-8, "0.00000001"), (9007199254740991.0,
     "9007199254740991"), (50000.0, "50000"), (1e22, "10000000000000000000000")],
)  # fmt: skip
def test_numbers_survive_and_come_as_decimal_text_when_asked(number: float, text: str) -> None:
    bridge, _ = make_bridge()
    plain, texts = full(bridge), full(bridge)
    plain.say(action="subscribe", symbols=["BTC"])
    texts.say(action="subscribe", symbols=["BTC"], numbers="string")
    deliver(bridge, warm("price"))
    assert plain.take()[0]["topics"][0].get("numbers") is None
    assert texts.take()[0]["topics"][0]["numbers"] == "string"
    deliver(bridge, live("price", 1, body=Price(number)))
    (one,), (two,) = plain.take(), texts.take()
    assert one["data"]["price"] == number
    assert (two["data"]["price"], two["data"]["change"]) == (text, None)
    assert float(two["data"]["price"]) == number


def test_a_checksum_is_that_of_the_book_after_the_change() -> None:
    bridge, _ = make_bridge("bridge.book_checksum=true")
    client = full(bridge)
    client.say(action="subscribe", topics=["orderbook.BTC#delta"])
    deliver(bridge, depth(1, 9, 9, [(1.0, 1.0)], [(2.0, 1.0)], whole=True), warm("depth"))
    client.take()
    deliver(bridge, depth(2, 10, 10, [(1.5, 3.0)], []))
    (change,) = client.take()
    assert change["data"]["checksum"] == book_checksum([(1.5, 3.0), (1.0, 1.0)], [(2.0, 1.0)])
