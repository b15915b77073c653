"""Waiting for first values, lingering, leaving: whatever happens when."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.client.deliveries import Delivery
from bus.model import Price
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    BTC_PRICE,
    EPOCH,
    SECOND_NS,
    T0_NS,
    WAIT_NS,
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


def test_a_warm_topic_is_answered_at_once_from_the_bridges_own_last_value() -> None:
    bridge, bus = make_bridge()
    first = multi(bridge)
    first.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    second = multi(bridge)
    got = second.say(action="subscribe", symbols=["BTC"])
    assert types(got) == ["subscription", "price"]
    assert bus.wanted.count(BTC_PRICE) == 1


def test_without_an_answer_the_topic_is_pending_and_its_first_value_comes_later() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bridge.sweep(T0_NS + WAIT_NS - 1)
    assert client.take() == []
    bridge.sweep(T0_NS + WAIT_NS)
    (ack,) = client.take()
    assert (ack["topics"][0]["state"], ack["topics"][0]["seq"]) == ("pending", 0)
    assert client.resumed == 1
    deliver(bridge, live("price", 8), warm("price"))
    deliver(bridge, live("price", 9))
    got = client.take()
    assert seqs(got) == [8, 9]
    assert got[0]["snapshot"] is True


def test_subscribing_again_while_pending_does_not_lose_the_first_value() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["orderbook.BTC"])
    bridge.sweep(T0_NS + WAIT_NS)
    client.say(action="subscribe", topics=["orderbook.BTC"], depth=1)
    bridge.sweep(T0_NS + 2 * WAIT_NS)
    client.take()
    deliver(bridge, live("orderbook", 8), warm("orderbook"))
    (book,) = client.take()
    assert (book["seq"], book["snapshot"], len(book["data"]["bids"])) == (8, True, 1)
    client.say(action="subscribe", topics=["trades.BTC"], history=2)
    bridge.sweep(T0_NS + 4 * WAIT_NS)
    client.say(action="subscribe", topics=["trades.BTC"])  # its wait ends as the value comes
    client.take()
    deliver(bridge, *[live("trades", n) for n in range(1, 4)], warm("trades"))
    got = client.take()
    assert types(got) == ["subscription", "trade", "trade"]
    assert seqs(got, "trades.BTC") == [2, 3]


def test_what_was_not_recovered_when_acknowledged_comes_as_a_first_subscription() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    position = {"epoch": epoch_text(EPOCH), "seq": 8}
    client.say(action="subscribe", topics=["price.BTC"], since={"price.BTC": position})
    bridge.sweep(T0_NS + WAIT_NS)
    assert client.take() == [], "a slow first value is no reason to refuse a recovery"
    bridge.sweep(T0_NS + 5 * SECOND_NS)
    (ack,) = client.take()
    entry = ack["topics"][0]
    assert (entry["recovered"], entry["reason"]) == (False, "disabled")
    deliver(bridge, live("price", 8), warm("price"))
    (price,) = client.take()
    assert (price["seq"], price["snapshot"]) == (8, True)


@pytest.mark.parametrize("action", ["compat", "full"])
def test_what_a_late_topic_has_missed_comes_when_the_bus_answers(action: str) -> None:
    bridge, _ = make_bridge()
    client = multi(bridge) if action == "compat" else full(bridge)
    client.take()
    position = {"epoch": epoch_text(EPOCH), "seq": 8}
    client.say(action="subscribe", topics=["trades.BTC"], since={"trades.BTC": position})
    bridge.sweep(T0_NS + 5 * SECOND_NS)
    ack = next(m for m in client.take() if m["type"] == "subscription")
    assert (ack["topics"][0]["recovered"], ack["topics"][0]["reason"]) == (False, "disabled")
    past = [live("trades", n) for n in range(7, 11)]
    deliver(bridge, *past, warm("trades"))
    deliver(bridge, live("trades", 11))
    got = [m for m in client.take() if m.get("topic") == "trades.BTC"]
    assert [(m["seq"], m.get("recovered")) for m in got] == [(9, True), (10, True), (11, None)]
    assert got[0]["epoch"] == epoch_text(EPOCH), "the acknowledgement could not name it"


def test_what_a_late_topic_has_lost_is_told_when_the_bus_answers() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    position = {"epoch": epoch_text(EPOCH), "seq": 3}
    since = {"trades.BTC": position, "trades.ETH": {"epoch": "older", "seq": 3}}
    client.say(action="subscribe", topics=list(since), since=since, history=1)
    bridge.sweep(T0_NS + 5 * SECOND_NS)
    client.take()
    for symbol in ("BTC-USDT", "ETH-USDT"):
        deliver(bridge, live("trades", 8, symbol=symbol), warm("trades", symbol=symbol))
    gap, *trades = client.take()
    assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", 4, 8, "bus")
    assert [(m["topic"], m["seq"], m["snapshot"]) for m in trades] == [
        ("trades.BTC", 8, True),
        ("trades.ETH", 8, True),
    ], "of another count nothing can be said; each begins anew"


def test_recoveries_of_late_topics_are_bounded_for_the_whole_request() -> None:
    bridge, _ = make_bridge("bridge.history=5")
    client = full(bridge)
    position = {"epoch": epoch_text(EPOCH), "seq": 1}
    since = {"trades.BTC": position, "trades.ETH": position}
    client.say(action="subscribe", topics=list(since), since=since)
    bridge.sweep(T0_NS + 5 * SECOND_NS)
    client.take()
    for symbol in ("BTC-USDT", "ETH-USDT"):
        trades = [live("trades", n, symbol=symbol) for n in range(1, 5)]
        deliver(bridge, *trades, warm("trades", symbol=symbol))
    got = client.take()
    assert seqs(got, "trades.BTC") == [2, 3, 4]
    (gap,) = [m for m in got if m["type"] == "gap"]
    assert (gap["topic"], gap["from"], gap["to"]) == ("trades.ETH", 2, 4), "all or nothing"


def test_history_of_late_topics_is_bounded_for_the_whole_request() -> None:
    bridge, _ = make_bridge("bridge.history=5")
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC", "trades.ETH"], history=4)
    bridge.sweep(T0_NS + WAIT_NS)
    client.take()
    for symbol in ("BTC-USDT", "ETH-USDT"):
        trades = [live("trades", n, symbol=symbol) for n in range(1, 9)]
        deliver(bridge, *trades, warm("trades", symbol=symbol))
    got = client.take()
    assert len(seqs(got, "trades.BTC")) + len(seqs(got, "trades.ETH")) == 5


def test_a_topic_given_up_while_pending_never_arrives() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bridge.sweep(T0_NS + WAIT_NS)
    client.take()
    (bye,) = client.say(action="unsubscribe", symbols=["BTC"])
    assert bye["symbols"] == ["BTC"]
    deliver(bridge, live("price", 8), warm("price"))
    assert client.take() == []


def test_a_bus_topic_lingers_and_is_then_dropped() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    bridge.gone(client, T0_NS)
    bridge.sweep(T0_NS + 4 * SECOND_NS)
    assert BTC_PRICE in bus.wanted
    again = multi(bridge)
    assert types(again.say(action="subscribe", symbols=["BTC"])) == ["subscription", "price"]
    bridge.gone(again, T0_NS + 4 * SECOND_NS)
    bridge.sweep(T0_NS + 9 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]
    assert bridge.market.lines == {}


def test_a_client_that_leaves_while_waiting_leaves_nothing_behind() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    other = multi(bridge)
    other.say(action="subscribe", symbols=["SOL"])
    bridge.sweep(T0_NS + WAIT_NS)
    client.take()
    bridge.gone(client, T0_NS)
    bridge.gone(other, T0_NS)
    bridge.gone(other, T0_NS)
    bridge.sweep(T0_NS + 10 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]
    deliver(bridge, live("price", 1), warm("price"))
    assert client.got == []
    assert bridge.subscriptions.bus_topic_count == 0


class Leaver(FakeClient):
    """Its connection ends while it is given something."""

    leaves: list[FakeClient]

    def go_on(self) -> None:
        super().go_on()
        for client in self.leaves:
            self._bridge.gone(client, T0_NS)


def leaver(bridge: Bridge) -> Leaver:
    client = Leaver(bridge, "/ws/v1/", "mdbus.v1.json")
    client.leaves = []
    bridge.opened(client, T0_NS)
    return client


@pytest.mark.parametrize("is_overdue", [True, False])
def test_who_leaves_because_of_what_he_is_given_is_given_nothing_more(is_overdue: bool) -> None:
    """Whether one topic under two names turns warm late, or another client's answer was meant."""
    bridge, _ = make_bridge()
    client, other = leaver(bridge), leaver(bridge)
    for one in (client, other):
        one.say(action="subscribe", topics=["price.BTC", "price.BTC@sim"])
    if is_overdue:
        bridge.sweep(T0_NS + WAIT_NS)
    client.leaves = [client, other]
    client.take()
    deliver(bridge, live("price", 1), warm("price"))
    assert bridge.subscriptions.channel_count == 0
    bridge.sweep(T0_NS + 100 * SECOND_NS)
    assert bridge.subscriptions.bus_topic_count == 0
    assert bridge.market.lines == {}


def test_in_a_crowd_requests_for_topics_are_put_off_and_answered_in_order() -> None:
    bridge, bus = make_bridge()
    first = multi(bridge)
    first.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    first.take()
    crowd = [multi(bridge) for _ in range(5)]
    bridge.is_crowded = lambda: True
    for client in crowd:
        assert client.say(action="subscribe", symbols=["BTC"], id=1) == []
        assert bridge.is_waiting(client), "what it says next waits for this"
    assert types(first.say(action="ping")) == ["pong"], "nobody else is concerned"
    bridge.gone(crowd.pop(1), T0_NS)
    assert bridge.admit(2, T0_NS)
    deliver(bridge, live("price", 2))
    got = [client.take() for client in crowd]
    assert [types(one) for one in got] == [["subscription", "price", "price"]] * 2 + [[], []]
    assert [client.resumed for client in crowd] == [1, 1, 0, 0]
    late = multi(bridge)
    bridge.is_crowded = lambda: False
    assert late.say(action="subscribe", symbols=["BTC"]) == [], "nobody overtakes"
    assert not bridge.admit(9, T0_NS)
    assert all(seqs(client.take()) == [2] for client in (*crowd[2:], late))
    for client in (first, late, *crowd):
        bridge.gone(client, T0_NS)
    bridge.sweep(T0_NS + 60 * SECOND_NS)
    assert BTC_PRICE not in bus.wanted, "who was put off and left has left nothing behind"


def test_however_crowded_it_is_nobody_is_put_off_for_good() -> None:
    bridge, _ = make_bridge()
    first, client = multi(bridge), multi(bridge)
    first.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    bridge.is_crowded = lambda: True
    client.say(action="subscribe", symbols=["BTC"])
    bridge.sweep(T0_NS)
    assert types(client.take()) == ["subscription", "price"]


def test_one_whose_answer_fails_is_cut_off_and_the_others_are_answered() -> None:
    bridge, _ = make_bridge()
    first, faulty, client = multi(bridge), multi(bridge), multi(bridge)
    first.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    bridge.is_crowded = lambda: True
    faulty.say(action="subscribe", symbols=["BTC"])
    client.say(action="subscribe", symbols=["BTC"])
    faulty.is_faulty = True
    bridge.admit(2, T0_NS)
    assert faulty.is_aborted
    assert types(client.take()) == ["subscription", "price"]


moves = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 4)),
        st.tuples(st.just("subscribe"), st.booleans()),
        st.tuples(st.just("unsubscribe"), st.none()),
        st.tuples(st.just("warm"), st.none()),
        st.tuples(st.just("time"), st.integers(1, 12)),
        st.tuples(st.just("crowd"), st.booleans()),
        st.tuples(st.just("admit"), st.none()),
    ),
    max_size=40,
)


@given(moves)
def test_whatever_happens_when_a_client_sees_an_unbroken_stream(
    steps: list[tuple[str, Any]],
) -> None:
    """Snapshot, then every live message, none missing, none twice, none after unsubscribed."""
    bridge, bus = make_bridge()
    client = multi(bridge)
    count = itertools.count(1)
    last_seq, now_ns = 0, T0_NS
    next_expected: int | None = None
    is_subscribed = False
    for kind, value in steps:
        batch: list[Delivery] = []
        if kind == "live":
            for _ in range(value):
                last_seq = next(count)
                body = Price(float(last_seq))
                if BTC_PRICE in bus.wanted:
                    batch.append(live("price", last_seq, body=body, at_ns=now_ns))
            deliver(bridge, *batch, now_ns=now_ns)
        elif kind == "warm":
            line = bridge.market.lines.get(BTC_PRICE)
            if line is not None and not line.warm:  # the broker's answer: its last value, then end
                if last_seq:
                    body = Price(float(last_seq))
                    batch.append(live("price", last_seq, body=body, at_ns=now_ns))
                deliver(bridge, *batch, warm("price"), now_ns=now_ns)
        elif kind == "time":
            now_ns += value * SECOND_NS
            bridge.sweep(now_ns)
        elif kind == "crowd":
            bridge.is_crowded = partial(bool, value)
        elif kind == "admit":
            bridge.admit(1, now_ns)
        elif not bridge.is_waiting(client):
            extra = {"snapshot": value} if kind == "subscribe" else {}
            client.got += client.say(now_ns, action=kind, topics=["price.BTC"], **extra)
        for message in client.take():
            if message["type"] == "subscription":
                is_subscribed = message["action"] == "subscribed"
                if not message.get("topics", [{}])[0].get("already"):
                    next_expected = None
            elif message["type"] == "price":
                assert is_subscribed, "data outside of a subscription"
                assert message["data"]["price"] == message["seq"]
                if message.get("snapshot"):
                    assert next_expected is None or message["seq"] == next_expected - 1
                else:
                    assert next_expected in (None, message["seq"])
                next_expected = message["seq"] + 1
            else:
                assert (message["type"], message["code"]) == ("error", "not_subscribed")


def test_a_fault_while_a_request_completes_costs_its_client_and_nobody_else() -> None:
    bridge, bus = make_bridge()
    bad, good = full(bridge), full(bridge)
    for client in (bad, good):
        client.say(action="subscribe", topics=["price.BTC"])
    bad.is_faulty = True
    deliver(bridge, live("price", 1), warm("price"))
    assert (bad.is_aborted, good.is_aborted) == (True, False)
    assert seqs(good.take()) == [1]
    bridge.gone(bad, T0_NS)
    bridge.gone(good, T0_NS)
    bridge.sweep(T0_NS + 3_600 * SECOND_NS)
    assert BTC_PRICE not in bus.wanted, "nothing is held for a request that failed"
