"""A client that reads slowly: what is kept, what is marked, what is dropped and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.client.deliveries import GapFound, Message
from bus.model import Depth
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.helping import HELPING_MESSAGES
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    SECOND_NS,
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


def change(seq: int, *, is_snapshot: bool = False) -> Message:
    """The change number ``seq`` of a book, or the whole of it."""
    body = Depth(seq, seq, [(float(seq), 1.0)], [], is_snapshot)
    return live("depth", seq, body=body)


def reading(topics: list[str], **options: Any) -> tuple[Bridge, FakeClient]:
    """A full client that holds ``topics``, all warm."""
    bridge, _ = make_bridge()
    client = full(bridge)
    if topics:
        client.say(action="subscribe", topics=topics, **options)
    for stream in ("price", "trades", "depth"):
        deliver(bridge, live(stream, 1)) if stream != "depth" else None
        deliver(bridge, warm(stream))
    client.take()
    return bridge, client


def stick(client: FakeClient) -> None:
    """The socket takes nothing and the client is found to be behind."""
    client.is_stuck = True
    client.press(T0_NS, 300_000)


def test_under_pressure_a_price_is_a_mark_and_comes_once_as_it_is_then() -> None:
    bridge, client = reading(["price.BTC"])
    stick(client)
    (told,) = client.take()
    assert (told["scope"], told["state"], told["buffered"]) == (
        "connection", "conflating", 300_000,
    )  # fmt: skip
    for seq in range(2, 10):
        deliver(bridge, live("price", seq))
    assert client.take() == []
    assert client.queued_bytes == 0, "marks, not messages"
    price, resumed = client.drain()
    assert (price["seq"], price["conflated"]) == (9, 7)
    assert (resumed["state"], resumed["scope"]) == ("resumed", "connection")
    deliver(bridge, live("price", 10))
    assert seqs(client.take()) == [10]


def test_lossless_messages_queue_and_come_all_in_order() -> None:
    bridge, client = reading(["trades.BTC", "price.BTC"])
    stick(client)
    client.take()
    for seq in range(2, 300):
        deliver(bridge, live("trades", seq), live("price", seq))
    got = client.drain()
    assert seqs(got, "trades.BTC") == list(range(2, 300))
    assert seqs(got) == [299]
    assert types(got)[-1] == "status"


def test_a_compat_client_is_treated_the_same_and_told_nothing() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    client.take()
    stick(client)
    deliver(bridge, live("price", 2), live("price", 3))
    got = client.drain()
    assert [(m["type"], m["seq"]) for m in got] == [("price", 3)]


def test_at_the_limit_the_client_is_given_up_unless_it_asked_for_gaps() -> None:
    bridge, client = reading(["trades.BTC"])
    client.limit_bytes = 5_000
    stick(client)
    for seq in range(2, 100):
        deliver(bridge, live("trades", seq))
    assert client.is_overrun
    bridge, client = reading(["trades.BTC"], on_slow="gap")
    client.limit_bytes = 5_000
    stick(client)
    client.take()
    for seq in range(2, 100):
        deliver(bridge, live("trades", seq))
        assert client.queued_bytes < 5_000 + 1_000
    assert not client.is_overrun
    got = client.drain()
    gap = got[0]
    assert (gap["type"], gap["reason"], gap["from"]) == ("gap", "slow_client", 2)
    assert gap["count"] == gap["to"] - 1
    assert seqs(got[1:], "trades.BTC") == list(range(gap["to"] + 1, 100))
    assert client.dropped_messages == gap["count"]


@pytest.mark.parametrize("burst", [1, 7, 200])
def test_a_burst_is_one_run_that_is_cut_to_a_message_at_the_limit_and_in_helpings(
    burst: int,
) -> None:
    bridge, client = reading(["trades.BTC"], on_slow="gap")
    client.limit_bytes = 50_000
    stick(client)
    client.take()
    numbers = list(range(2, 402))
    for start in range(0, 400, burst):
        deliver(bridge, *[live("trades", n) for n in numbers[start : start + burst]])
        assert client.queued_bytes < 50_000
    assert client.queued_bytes > 49_000, "no more than had to be dropped"
    helpings: list[int] = []
    client.is_stuck, before = False, len(client.got)
    while client.has_waiting or client.is_pressed:
        client.write(client.helping(bridge.source, T0_NS))
        helpings.append(len(client.got) - before)
        before = len(client.got)
    assert max(helpings) <= HELPING_MESSAGES + 1, "and the word that it is over"
    gap, *trades = [message for message in client.take() if message["type"] != "status"]
    assert (gap["type"], gap["from"], gap["count"]) == ("gap", 2, client.dropped_messages)
    assert seqs(trades, "trades.BTC") == list(range(gap["to"] + 1, 402))
    assert client.queued_bytes == 0


def test_time_is_a_limit_too() -> None:
    bridge, client = reading(["trades.BTC"])
    stick(client)
    deliver(bridge, live("trades", 2))
    client.keep_to_limit(T0_NS + 5 * SECOND_NS - 1)
    assert not client.is_overrun
    client.keep_to_limit(T0_NS + 5 * SECOND_NS)
    assert client.is_overrun


def behind_an_answer(on_slow: str) -> tuple[Bridge, FakeClient]:
    """A client whose recovered trades are still being made, while prices and trades come."""
    bridge, client = reading(["price.BTC"])
    full(bridge).say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    client.is_stuck = True
    since = {"trades.BTC": {"epoch": epoch_text(EPOCH), "seq": 1}}
    client.say(action="subscribe", id=7, topics=["trades.BTC"], since=since, on_slow=on_slow)
    client.limit_bytes = 3_000
    return bridge, client


def test_a_price_that_waits_behind_an_answer_comes_last_whatever_the_limit() -> None:
    """A price is neither what a client is given up for, nor what a gap is told of."""
    bridge, client = behind_an_answer("close")
    for seq in range(2, 40):
        deliver(bridge, live("price", seq))
    assert not client.is_overrun
    assert client.queued_bytes < 3_000
    got = client.drain()
    assert "gap" not in types(got)
    assert (seqs(got)[-1], got[-1]["seq"]) == (39, 39)
    assert sum(m.get("conflated", 0) + 1 for m in got if m.get("topic") == "price.BTC") == 38


def test_a_gap_is_told_in_its_place_after_what_was_recovered() -> None:
    bridge, client = behind_an_answer("gap")
    for seq in range(6, 40):
        deliver(bridge, live("trades", seq))
    got = [one for one in client.drain() if one["type"] in ("trade", "gap")]
    assert types(got)[:5] == ["trade"] * 4 + ["gap"]
    assert (seqs(got[:4], "trades.BTC"), got[4]["from"]) == ([2, 3, 4, 5], 6)
    assert seqs(got[5:], "trades.BTC") == list(range(got[4]["to"] + 1, 40))


@pytest.mark.parametrize("conflate_ms", [0, 1_000])
def test_what_the_bus_lost_is_told_though_what_is_around_it_was_dropped(conflate_ms: int) -> None:
    bridge, client = reading(["trades.BTC"], on_slow="gap", conflate_ms=conflate_ms)
    client.limit_bytes = 1_000
    stick(client)
    client.take()
    key = live("trades", 1).topic
    deliver(bridge, live("trades", 2), GapFound(key, EPOCH, 3, 4, "gone"))
    deliver(bridge, *[live("trades", n) for n in range(5, 30)])
    bridge.run_due(T0_NS + 2 * SECOND_NS)
    client.keep_to_limit(T0_NS + 20 * SECOND_NS)
    got = client.drain()
    gaps = [(one["from"], one["to"], one["reason"]) for one in got if one["type"] == "gap"]
    assert gaps[:2] == [(2, 2, "slow_client"), (3, 4, "bus")]
    assert gaps[2:] == [(5, 29, "slow_client")]


def test_a_client_that_is_spared_prices_is_told_that_they_are_stale() -> None:
    bridge, client = reading(["price.BTC"])
    stick(client)
    deliver(bridge, live("price", 2))
    bridge.sweep(T0_NS + 61 * SECOND_NS)
    got = client.drain()
    assert [(m["state"], m["topic"]) for m in got if m.get("scope") == "topic"] == [
        ("stale", "price.BTC")
    ]
    assert [m["seq"] for m in got if m["type"] == "price"] == [2]


def test_changes_of_a_book_that_wait_follow_their_client_to_other_terms() -> None:
    """What is dropped of them later is made good on the terms in force then."""
    bridge, client = reading([])
    client.say(action="subscribe", topics=["orderbook.BTC#delta"], on_slow="gap")
    deliver(bridge, change(1, is_snapshot=True), warm("depth"))
    client.take()
    stick(client)
    deliver(bridge, *[change(n) for n in range(2, 20)])
    client.say(action="subscribe", topics=["orderbook.BTC#delta"], numbers="string")
    client.limit_bytes = client.queued_bytes + 200
    deliver(bridge, change(20), change(21))
    assert client.dropped_messages > 0
    got = [m for m in client.drain() if m["type"] in ("reset", "orderbook")]
    assert types(got) == ["reset", "orderbook"]
    assert (got[1]["snapshot"], got[1]["data"]["last_update_id"]) == (True, 21)


def test_unsubscribing_under_pressure_is_a_barrier() -> None:
    bridge, client = reading(["price.BTC", "trades.BTC"])
    stick(client)
    deliver(bridge, live("price", 2), live("trades", 2))
    client.take()
    client.say(action="unsubscribe", all=True)
    deliver(bridge, live("price", 3), live("trades", 3))
    got = client.drain()
    assert types(got) == ["trade", "subscription", "status"]


def test_a_long_answer_comes_in_helpings_and_live_messages_after_it() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], history=300)
    client.is_stuck = True  # nobody pumps
    deliver(bridge, *[live("trades", n) for n in range(1, 301)], warm("trades"))
    assert types(client.take()) == ["subscription"]
    assert client.has_answer_waiting
    deliver(bridge, live("trades", 301))
    assert client.take() == []
    helpings = 0
    while client.has_waiting:
        client.write(client.helping(bridge.source, T0_NS))
        helpings += 1
    assert helpings >= 300 // HELPING_MESSAGES
    got = client.take()
    assert seqs(got, "trades.BTC") == list(range(1, 302))
    assert types(got)[-3:] == ["snapshot_end", "status", "trade"]
    assert client.is_direct


def test_batches_are_arrays_of_what_came_and_are_shared() -> None:
    bridge, _ = make_bridge()
    clients = [full(bridge, "/ws/v1/?batch_ms=20") for _ in range(2)]
    for client in clients:
        client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    deliver(bridge, warm("price"), warm("trades"))
    for client in clients:
        client.take()
        client.frames.clear()
    deliver(bridge, live("price", 1), live("trades", 1), now_ns=T0_NS + 1)
    deliver(bridge, live("trades", 2), now_ns=T0_NS + 2)
    assert clients[0].take() == []
    bridge.run_due(T0_NS + 20_000_000)
    for client in clients:
        assert [types(frame) for frame in client.frames] == [["price", "trade", "trade"]]
        client.take()
    deliver(bridge, live("trades", 3), now_ns=T0_NS + 21_000_000)
    got = clients[0].say(action="unsubscribe", all=True)
    assert seqs(got, "trades.BTC") + seqs(clients[0].take(), "trades.BTC") == [3]
    bridge.run_due(T0_NS + SECOND_NS)
    assert clients[0].take() == []


moves = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 5)),
        st.tuples(st.just("stick"), st.none()),
        st.tuples(st.just("press"), st.none()),
        st.tuples(st.just("drain"), st.none()),
        st.tuples(st.just("time"), st.none()),
        st.tuples(st.just("set"), st.sampled_from([0, 20])),
    ),
    max_size=40,
)


@given(moves, st.sampled_from([0, 50]))
@settings(deadline=None)
@pytest.mark.parametrize("on_slow", ["close", "gap"])
def test_whatever_the_socket_does_trades_are_whole_or_the_hole_is_told(
    on_slow: str, steps: list[tuple[str, Any]], conflate_ms: int
) -> None:
    bridge, client = reading(["trades.BTC", "price.BTC"], on_slow=on_slow, conflate_ms=conflate_ms)
    client.limit_bytes = 3_000
    got: list[dict[str, Any]] = []
    seq, now_ns = 1, T0_NS
    for kind, value in steps:
        if kind == "live":
            ticks = [(live("trades", seq + n), live("price", seq + n)) for n in range(1, value + 1)]
            seq += value
            deliver(bridge, *[one for pair in ticks for one in pair], now_ns=now_ns)
        elif kind == "stick":
            client.is_stuck = True
        elif kind == "press" and client.is_stuck:
            client.press(now_ns, 300_000)
        elif kind == "drain":
            client.is_stuck = False
            client.go_on()
        elif kind == "time":
            now_ns += 60_000_000
            bridge.run_due(now_ns)
        elif kind == "set":
            bridge.received(client, b'{"action":"set","batch_ms":%d}' % value, now_ns)
        if client.is_overrun:
            assert on_slow == "close"
            return
        assert client.queued_bytes <= 3_000 + 6 * 400
        got += client.take()
    client.is_stuck = False
    client.go_on()
    bridge.run_due(now_ns + SECOND_NS)
    bridge.run_due(now_ns + 2 * SECOND_NS)
    client.go_on()
    got += client.take()
    expected = 2
    for message in got:
        if message["type"] == "gap":
            assert message["from"] == expected
            expected = message["to"] + 1
        elif message["type"] == "trade":
            assert message["seq"] == expected
            expected += 1
    assert expected == seq + 1
    prices = [1, *seqs(got)]
    assert prices == sorted(set(prices))
    assert prices[-1] == seq
