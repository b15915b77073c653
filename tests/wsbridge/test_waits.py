"""Who waits for what, and when the waiting is over."""

from __future__ import annotations

from dataclasses import replace

from bus.wsbridge.messages import Position
from bus.wsbridge.steps import Attach, Wanted
from bus.wsbridge.style import Style, Terms
from bus.wsbridge.topics import Directory, MarketTopic
from bus.wsbridge.waits import Waits
from tests.wsbridge.makers import settings_of

DIRECTORY = Directory(settings_of())


def wanted(name: str, since: int | None = None) -> Wanted:
    topic = DIRECTORY.resolve_topic(name)
    assert isinstance(topic, MarketTopic)
    position = None if since is None else Position("e", since)
    return Wanted(topic, name, Terms(Style()), True, 0, position, False)


def test_a_request_waits_for_all_its_topics() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    one, two = wanted("price.BTC"), wanted("price.ETH")
    keys = {one.topic.bus_key, two.topic.bus_key}
    waits.add("client", Attach("subscribe", (one, two)), keys, 100)
    assert "client" in waits
    assert waits.warmed(one.topic.bus_key) == []
    (over,) = waits.warmed(two.topic.bus_key)
    waits.forget(over)
    assert "client" not in waits


def test_a_request_waits_until_we_have_seen_what_its_client_has() -> None:
    seen = [5]
    waits: Waits[str] = Waits(lambda w: w.since is not None and w.since.seq > seen[0])
    one = wanted("trades.BTC", since=7)
    waits.add("client", Attach("subscribe", (one,)), {one.topic.bus_key}, 100)
    assert waits.warmed(one.topic.bus_key) == []
    assert waits.has_behind
    assert waits.caught_up() == []
    seen[0] = 7
    assert len(waits.caught_up()) == 1


def test_overdue_is_who_has_waited_long_enough() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    one = wanted("price.BTC")
    waits.add("client", Attach("subscribe", (one,)), {one.topic.bus_key}, 100)
    assert waits.overdue(99) == []
    assert [wait.client for wait in waits.overdue(100)] == ["client"]
    assert waits.gone("client") is not None
    assert waits.gone("client") is None
    assert waits.warmed(one.topic.bus_key) == []


def test_a_debt_is_paid_or_cancelled_once() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    one = wanted("price.BTC")
    waits.owe("client", one)
    assert waits.due(one.topic.bus_key) == [("client", one)]
    assert list(waits.owed_to("client")) == ["price.BTC"]
    assert waits.cancel("client", "price.BTC") is one
    assert waits.cancel("client", "price.BTC") is None
    assert waits.due(one.topic.bus_key) == []


def test_who_was_put_off_first_is_first_and_who_leaves_is_not_there() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    requests = {name: Attach("subscribe", (wanted("price.BTC"),), id=name) for name in "abcd"}
    for name, attach in requests.items():
        waits.put_off(name, attach)
    assert waits.has_put_off
    assert "b" in waits
    assert waits.gone("b") is None, "it had not been begun"
    assert "b" not in waits
    assert waits.take_put_off(2) == {"a": requests["a"], "c": requests["c"]}
    assert waits.take_put_off(9) == {"d": requests["d"]}
    assert waits.take_put_off(9) == {}


def test_the_same_topic_under_two_names_is_waited_for_as_far_as_either_has_seen() -> None:
    seen = [5]
    waits: Waits[str] = Waits(lambda w: w.since is not None and w.since.seq > seen[0])
    attach = Attach("subscribe", (wanted("trades.BTC", 9), wanted("trades.BTC@sim", 7)))
    waits.add("client", attach, set(), 100)
    seen[0] = 8
    assert waits.caught_up() == []
    seen[0] = 9
    assert len(waits.caught_up()) == 1
    assert not waits.has_behind


def test_nobody_is_behind_once_who_was_has_left_or_was_answered() -> None:
    waits: Waits[str] = Waits(lambda w: w.since is not None)
    one = wanted("trades.BTC", since=7)
    for name in ("leaves", "overdue", "stays"):
        waits.add(name, Attach("subscribe", (one,)), set(), 100)
    (overdue,) = [wait for wait in waits.overdue(100) if wait.client == "overdue"]
    assert waits.forget(overdue)
    assert not waits.forget(overdue), "once"
    assert waits.gone("leaves") is not None
    assert waits.has_behind
    assert waits.gone("stays") is not None
    assert not waits.has_behind


def test_a_wait_that_was_replaced_does_not_end_the_one_in_its_place() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    one = wanted("price.BTC")
    waits.add("client", Attach("subscribe", (one,)), {one.topic.bus_key}, 100)
    first = waits.gone("client")
    assert first is not None
    waits.add("client", Attach("subscribe", (one,)), {one.topic.bus_key}, 100)
    assert not waits.forget(first)
    assert "client" in waits


def test_what_is_owed_still_is_until_it_is_cancelled_or_another_takes_its_place() -> None:
    waits: Waits[str] = Waits(lambda _: False)
    one, other = wanted("price.BTC"), wanted("price.BTC")
    other = replace(other, snapshot=False)
    assert not waits.is_owed("client", one)
    waits.owe("client", one)
    assert waits.is_owed("client", one)
    waits.owe("client", other)
    assert not waits.is_owed("client", one)
    waits.cancel("client", "price.BTC")
    assert not waits.is_owed("client", other)
