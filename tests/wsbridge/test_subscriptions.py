"""Who wants what, against a model that recounts everything each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.style import Style
from bus.wsbridge.subscriptions import Subscriptions
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import Nobody, settings_of

DIRECTORY = Directory(settings_of())
LINGER_NS = 10


def topic(name: str) -> MarketTopic:
    found = DIRECTORY.resolve_topic(name)
    assert isinstance(found, MarketTopic)
    return found


CLIENTS = [Nobody() for _ in range(4)]
NAMES = ["price.BTC", "price.BTC@sim", "orderbook.BTC", "trades.ETH"]
moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("join"), st.integers(0, 3), st.sampled_from(NAMES), st.sampled_from([5, 20])
        ),
        st.tuples(st.just("leave"), st.integers(0, 3), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("gone"), st.integers(0, 3), st.just(""), st.just(0)),
        st.tuples(st.just("time"), st.integers(1, 15), st.just(""), st.just(0)),
    ),
    max_size=60,
)


@given(moves)
def test_demand_is_what_the_clients_hold(steps: list[tuple[str, int, str, int]]) -> None:
    subscriptions: Subscriptions[Nobody] = Subscriptions(linger_ns=LINGER_NS)
    model: dict[int, dict[str, int]] = {}
    on_bus: set[bytes] = set()
    now_ns = 0
    for kind, who, name, depth in steps:
        if kind == "join":
            one = topic(name)
            if subscriptions.hold(one.bus_key):
                assert one.bus_key not in on_bus
                on_bus.add(one.bus_key)
            subscriptions.join(CLIENTS[who], one, Style(depth), now_ns)
            subscriptions.release(one.bus_key, now_ns)
            model.setdefault(who, {})[name] = depth
        elif kind == "leave":
            held = model.get(who, {}).pop(name, None) is not None
            assert (subscriptions.leave(CLIENTS[who], name, now_ns) is not None) is held
        elif kind == "gone":
            subscriptions.leave_all(CLIENTS[who], now_ns)
            model.pop(who, None)
        else:
            now_ns += who
            for key in subscriptions.expired(now_ns):
                on_bus.remove(key)
        wanted = {topic(name).bus_key for held in model.values() for name in held}
        assert wanted <= on_bus
        assert subscriptions.bus_topic_count == len(on_bus)
        members = {
            (CLIENTS.index(client), channel.topic.name, channel.style.depth)
            for channels in subscriptions.by_bus_key.values()
            for channel in channels
            for client in channel.clients
        }
        assert members == {(c, n, d) for c, held in model.items() for n, d in held.items()}
    subscriptions.expired(now_ns + LINGER_NS)
    wanted = {topic(name).bus_key for held in model.values() for name in held}
    assert subscriptions.bus_topic_count == len(wanted)


def test_a_topic_wanted_again_while_it_lingers_needs_no_new_subscription() -> None:
    subscriptions: Subscriptions[Nobody] = Subscriptions(linger_ns=LINGER_NS)
    assert subscriptions.hold(b"k") is True
    assert subscriptions.hold(b"k") is False
    subscriptions.release(b"k", 0)
    subscriptions.release(b"k", 0)
    assert subscriptions.expired(LINGER_NS - 1) == []
    assert subscriptions.hold(b"k") is False
    assert subscriptions.expired(LINGER_NS * 9) == []
