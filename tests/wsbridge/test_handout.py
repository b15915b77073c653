"""The way to the sockets: everybody gets everything once, in order, whatever way it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.bridge import Bridge
from tests.wsbridge.makers import T0_NS, deliver, live, make_bridge, seqs, warm
from tests.wsbridge.packets import SocketClient

MS = 1_000_000
STREAMS = ("price", "trades")


@pytest.fixture
def bridge() -> Bridge:
    return make_bridge()[0]


@pytest.fixture
def clients(bridge: Bridge) -> Iterator[list[SocketClient]]:
    clients = [SocketClient(bridge) for _ in range(3)]
    yield clients
    for client in clients:
        client.end()


def subscribe(bridge: Bridge, *clients: SocketClient, conflate_ms: int = 0) -> None:
    for client in clients:
        topics = [f"{stream}.BTC" for stream in STREAMS]
        client.say(action="subscribe", topics=topics, conflate_ms=conflate_ms, snapshot=False)
    deliver(bridge, warm("price"), warm("trades"))
    for client in clients:
        client.read()
        client.got.clear()
        client.own_writes = 0


def test_a_tick_goes_past_every_client_to_its_socket(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients)
    deliver(bridge, live("price", 1))
    sizes = {client.read() for client in clients}
    assert [client.own_writes for client in clients] == [0, 0, 0]
    assert [seqs(client.take()) for client in clients] == [[1], [1], [1]]
    bridge.fanout.out.count_bytes()
    assert {client.direct_bytes for client in clients} == sizes
    assert bridge.fanout.out.direct_bytes == 3 * sizes.pop()


def test_who_may_not_be_passed_by_is_written_to_by_its_own_write(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients)
    deliver(bridge, live("price", 1))
    clients[1].is_open = False
    clients[1].reroute()
    deliver(bridge, live("price", 2))
    for client in clients:
        client.read()
    assert [client.own_writes for client in clients] == [0, 1, 0]
    assert [seqs(client.take()) for client in clients] == [[1, 2]] * 3


def test_styles_of_one_topic_have_no_client_in_common_and_all_pass(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    for client, depth in zip(clients, (1, 5, 20), strict=True):
        client.say(action="subscribe", topics=["orderbook.BTC"], depth=depth, snapshot=False)
    deliver(bridge, warm("orderbook"))
    for client in clients:
        client.read()
        client.own_writes = 0
    deliver(bridge, live("orderbook", 1))
    assert all(client.read() for client in clients)
    assert [client.own_writes for client in clients] == [0, 0, 0]


def test_only_who_gets_something_else_too_is_not_passed_by(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients)
    bridge.received(
        clients[0], b'{"action":"subscribe","topics":["quote.BTC"],"snapshot":false}', T0_NS
    )
    deliver(bridge, warm("quote"))
    deliver(bridge, live("trades", 1), live("quote", 1))  # after it nobody's route changes
    for client in clients:
        client.read()
        client.take()
        client.own_writes = 0
    bridge.fanout.out.count_bytes()
    sizes = [client.direct_bytes for client in clients]
    deliver(bridge, live("price", 1), live("quote", 2))
    for client in clients:
        client.read()
    assert [client.packets for client in clients] == [1, 1, 1]
    assert [client.own_writes for client in clients] == [1, 0, 0]
    assert [seqs(client.take()) for client in clients] == [[1]] * 3
    bridge.fanout.out.count_bytes()
    more = [client.direct_bytes - size for client, size in zip(clients, sizes, strict=True)]
    assert more[0] == 0, "its own write counts them"
    assert more[1] == more[2] > 0


def test_a_full_socket_leaves_the_rest_to_its_client_and_the_others_have_theirs(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients)
    clients[0].fill()
    deliver(bridge, live("price", 1))
    (rest,) = clients[0].rests
    assert b'"seq":1' in rest
    for client in clients[1:]:
        client.read()
        assert (seqs(client.take()), client.rests) == ([1], [])


def test_a_client_that_cannot_take_its_rest_is_cut_off_alone(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients)
    clients[0].fill()
    clients[0].is_faulty = True
    deliver(bridge, live("price", 1))
    assert [client.is_aborted for client in clients] == [True, False, False]
    assert bridge.fanout.faults.count == 1


def test_a_conflated_value_that_is_due_goes_with_what_is_written_anyway(bridge: Bridge) -> None:
    client = SocketClient(bridge)
    try:
        names = ["price.BTC"]
        client.say(action="subscribe", topics=names, conflate_ms=100, snapshot=False)
        deliver(bridge, warm("price"))
        client.say(action="subscribe", topics=["trades.BTC"], snapshot=False)
        deliver(bridge, warm("trades"))
        deliver(bridge, live("price", 1))
        deliver(bridge, live("price", 2), now_ns=T0_NS + MS)
        client.read()
        client.got.clear()
        client.own_writes = 0
        due = [bridge.next_ns]
        deliver(bridge, live("trades", 1), now_ns=T0_NS + 100 * MS)
        assert [*due, bridge.next_ns] == [T0_NS + 100 * MS, None]
        client.read()
        assert client.packets == 1
        found = client.take()
        assert (seqs(found), seqs(found, "trades.BTC")) == ([2], [1])
    finally:
        client.end()


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.lists(st.sampled_from(STREAMS), min_size=1, max_size=4)),
        st.tuples(st.just("route"), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 2)),
        st.tuples(st.just("join"), st.integers(0, 2)),
        st.tuples(st.just("ask"), st.integers(0, 2)),
    ),
    max_size=30,
)


@given(happenings)
def test_every_client_gets_what_it_holds_once_and_in_order(
    steps: list[tuple[str, list[str] | int]],
) -> None:
    bridge, _ = make_bridge()
    clients = [SocketClient(bridge) for _ in range(3)]
    try:
        subscribe(bridge, *clients)
        numbers = dict.fromkeys(STREAMS, 0)
        wanted: list[dict[str, list[int]]] = [{stream: [] for stream in STREAMS} for _ in clients]
        holds = [set(STREAMS) for _ in clients]
        for kind, what in steps:
            if isinstance(what, list):
                ticks = []
                for stream in what:
                    numbers[stream] += 1
                    ticks.append(live(stream, numbers[stream]))
                    for held, due in zip(holds, wanted, strict=True):
                        if stream in held:
                            due[stream].append(numbers[stream])
                deliver(bridge, *ticks)
                continue
            client = clients[what]
            if kind == "route":
                client.is_open = not client.is_open
                client.reroute()
            elif kind == "leave":
                bridge.received(client, b'{"action":"unsubscribe","topics":["price.BTC"]}', T0_NS)
                holds[what].discard("price")
            elif kind == "join":
                text = b'{"action":"subscribe","topics":["price.BTC"],"snapshot":false}'
                bridge.received(client, text, T0_NS)
                holds[what].add("price")
            else:
                bridge.received(client, b'{"action":"ping"}', T0_NS)
        for client, due in zip(clients, wanted, strict=True):
            client.read()
            found = client.take()
            assert {s: seqs(found, f"{s}.BTC") for s in STREAMS} == due
            assert client.rests == []
    finally:
        for client in clients:
            client.end()


def test_a_conflated_value_passes_by_too_once_all_have_been_there(
    bridge: Bridge, clients: list[SocketClient]
) -> None:
    subscribe(bridge, *clients, conflate_ms=100)
    for number in range(1, 7):
        deliver(bridge, live("price", number), now_ns=T0_NS + number * 30 * MS)
    bridge.run_due(T0_NS + 400 * MS)
    for client in clients:
        client.own_writes = 0
        client.read()
        client.got.clear()
    deliver(bridge, live("price", 7), now_ns=T0_NS + 401 * MS)
    bridge.run_due(T0_NS + 500 * MS)
    for client in clients:
        client.read()
    assert [client.own_writes for client in clients] == [0, 0, 0]
    assert [seqs(client.take()) for client in clients] == [[7]] * 3
