"""What one client is sent in one turn of the loop is one packet, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.bridge import Bridge
from bus.wsbridge.handout import MOST_FRAMES
from tests.wsbridge.makers import T0_NS, deliver, live, make_bridge, seqs, status, types, warm
from tests.wsbridge.packets import SocketClient
from tests.wsbridge.test_losses import lost

FULL = "mdbus.v1.json"


class Turn:
    """The end of the loop's turn, when a test says so."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def end(self) -> None:
        calls, self._calls = self._calls, []
        assert len(calls) <= 1, "once a turn"
        for call in calls:
            call()


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def bridge(turn: Turn) -> Bridge:
    bridge, _ = make_bridge()
    bridge.fanout.out.call_soon = turn.call_soon
    return bridge


@pytest.fixture
def clients(bridge: Bridge, turn: Turn) -> Iterator[list[SocketClient]]:
    """Three that have subscribed to prices and trades and have heard of the feed."""
    deliver(bridge, status("binance", "live"))
    clients = [SocketClient(bridge, "/ws/v1/", FULL) for _ in range(3)]
    for client in clients:
        ask(bridge, client, b'{"action":"subscribe","topics":["price.BTC","trades.BTC"]}')
    turn.end()
    deliver(bridge, warm("price"), warm("trades"))
    turn.end()
    for client in clients:
        packets(client)
        client.own_writes = 0
    yield clients
    for client in clients:
        client.end()


def ask(bridge: Bridge, client: SocketClient, text: bytes) -> None:
    bridge.received(client, text, T0_NS)


def packets(client: SocketClient) -> tuple[int, list[dict[str, Any]]]:
    """How many came since the last look, and what was in them."""
    client.read()
    return client.packets, client.take()


def test_an_answer_and_the_ticks_of_its_turn(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    asking, *others = clients
    ask(bridge, asking, b'{"action":"ping"}')
    ask(bridge, asking, b'{"action":"list"}')
    deliver(bridge, live("price", 1), live("trades", 1))
    deliver(bridge, live("price", 2))
    assert packets(asking)[0] == 0
    turn.end()
    count, found = packets(asking)
    assert (count, types(found)) == (1, ["pong", "list", "price", "trade", "price"])
    for other in others:
        count, found = packets(other)
        assert (count, types(found)) == (2, ["price", "trade", "price"]), "one for each batch"
        assert other.own_writes == 0, "past it, as ever"


def test_bytes_are_counted_once_whichever_way_they_take(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    asking, other, _ = clients
    ask(bridge, asking, b'{"action":"ping"}')
    deliver(bridge, live("price", 1))
    turn.end()
    other.read()
    bridge.fanout.out.count_bytes()
    assert asking.direct_bytes == 0, "its own write counts them"
    assert other.direct_bytes > 0
    assert bridge.fanout.out.direct_bytes == 2 * other.direct_bytes


def test_a_feeds_new_state_comes_with_the_ticks_before_it(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    deliver(bridge, live("price", 1), status("binance", "down", 2))
    turn.end()
    for client in clients:
        count, found = packets(client)
        assert (count, types(found)) == (1, ["price", "status"])


def test_a_stated_loss_stands_between_the_trades_around_it(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    deliver(bridge, live("trades", 1), lost(1, 30), live("trades", 2), live("price", 1))
    turn.end()
    for client in clients:
        count, found = packets(client)
        assert (count, types(found)) == (1, ["trade", "gap", "trade", "price"])


def test_a_first_value_comes_with_the_ticks_of_other_topics(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    asking, other, _ = clients
    ask(bridge, asking, b'{"action":"subscribe","topics":["ticker.BTC"]}')
    turn.end()
    assert packets(asking)[0] == 0, "it waits for the bus"
    deliver(bridge, live("price", 1), live("ticker", 1), warm("ticker"))
    turn.end()
    count, found = packets(asking)
    assert types(found)[:2] == ["price", "subscription"]
    assert count == 1
    assert packets(other)[0] == 1


def test_topics_that_grow_stale_together_are_one_packet(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    deliver(bridge, live("price", 1), live("trades", 1))
    for client in clients:
        packets(client)
    bridge.sweep(T0_NS + 10_000 * 1_000_000_000)
    turn.end()
    for client in clients:
        count, found = packets(client)
        assert types(found).count("status") == 2
        assert count <= 2, "a heartbeat may come by itself"


def test_much_does_not_wait_for_the_end_of_the_turn(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    client = clients[0]
    for size, is_written in ((30_000, False), (30_000, False), (30_000, True)):
        ask(bridge, client, b'{"action":"ping","ts":"%s"}' % (b"x" * size))
        count, found = packets(client)
        assert count == len(found) / 3 == is_written
    client.pending += [b"\x81\x02{}"] * (MOST_FRAMES - 1)
    bridge.fanout.out.flush_soon(client)
    assert len(client.pending) == MOST_FRAMES - 1
    client.pending.append(b"\x81\x02{}")
    bridge.fanout.out.flush_soon(client)
    assert client.pending == []


def test_who_leaves_in_mid_turn_is_not_written_to(
    bridge: Bridge, clients: list[SocketClient], turn: Turn
) -> None:
    ask(bridge, clients[0], b'{"action":"ping"}')
    bridge.gone(clients[0], T0_NS)
    deliver(bridge, live("price", 1))
    turn.end()
    assert packets(clients[0]) == (0, [])
    assert seqs(packets(clients[1])[1]) == [1]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from(["price", "trades"])),
        st.tuples(st.sampled_from(["ask", "route", "leave", "join"]), st.integers(0, 2)),
        st.tuples(st.just("end"), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_turns_change_neither_what_comes_nor_its_order(steps: list[tuple[str, Any]]) -> None:
    found: list[list[list[dict[str, Any]]]] = []
    for has_turns in (True, False):
        bridge, _ = make_bridge()
        turn = Turn()
        if has_turns:
            bridge.fanout.out.call_soon = turn.call_soon
        clients = [SocketClient(bridge) for _ in range(3)]
        numbers = {"price": 0, "trades": 0}
        for client in clients:
            topics = b'{"action":"subscribe","topics":["price.BTC","trades.BTC"],"snapshot":false}'
            ask(bridge, client, topics)
        deliver(bridge, warm("price"), warm("trades"))
        for kind, what in steps:
            if kind == "tick":
                numbers[what] += 1
                deliver(bridge, live(what, numbers[what]))
            elif kind == "end":
                turn.end()
            elif kind == "route":
                clients[what].is_open = not clients[what].is_open
                clients[what].reroute()
            else:
                text = {
                    "ask": b'{"action":"ping"}',
                    "leave": b'{"action":"unsubscribe","topics":["price.BTC"]}',
                    "join": b'{"action":"subscribe","topics":["price.BTC"],"snapshot":false}',
                }[kind]
                ask(bridge, clients[what], text)
        turn.end()
        found.append([])
        for client in clients:
            client.read()
            found[-1].append(client.take())
            client.end()
    assert found[0] == found[1]
