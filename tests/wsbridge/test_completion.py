"""What ends a request: snapshot_end, feed states, recovery that waits for this worker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    SECOND_NS,
    T0_NS,
    deliver,
    full,
    live,
    make_bridge,
    seqs,
    status,
    types,
    warm,
)


def since(seq: int, epoch: int = EPOCH) -> dict[str, object]:
    return {"trades.BTC": {"epoch": epoch_text(epoch), "seq": seq}}


def test_the_order_is_acknowledgement_values_end_feeds() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    client = full(bridge)
    client.say(action="subscribe", id="x", topics=["price.BTC", "price.ETH"])
    deliver(bridge, live("price", 1), warm("price"), warm("price", symbol="ETH-USDT"))
    ack, price, end, feed = client.take()
    assert types([ack, price, end, feed]) == ["subscription", "price", "snapshot_end", "status"]
    assert (end["id"], end["topics"], end["sent"], end["empty"]) == ("x", 2, 1, ["price.ETH"])
    assert (feed["feed"], feed["state"]) == ("binance", "live")


def test_a_client_that_has_seen_more_than_this_worker_is_answered_when_it_has_caught_up() -> None:
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge)
    first.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    client.say(action="subscribe", topics=["trades.BTC"], since=since(8))
    deliver(bridge, live("trades", 6), live("trades", 7))
    assert client.take() == []
    deliver(bridge, live("trades", 8), live("trades", 9))
    got = client.take()
    assert got[0]["topics"][0]["recovered"] is True
    deliver(bridge, live("trades", 10))
    assert seqs([*got, *client.take()], "trades.BTC") == [9, 10], "none missing, none twice"


def test_a_position_that_never_comes_is_another_count() -> None:
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge)
    first.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    client.say(action="subscribe", topics=["trades.BTC"], since=since(10**9), history=1)
    bridge.sweep(T0_NS + SECOND_NS)
    got = client.take()
    entry = got[0]["topics"][0]
    assert (entry["recovered"], entry["reason"]) == (False, "epoch")
    assert seqs(got, "trades.BTC") == [1]


def test_a_slow_bus_delays_a_recovery_and_does_not_refuse_it() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], since=since(3))
    bridge.sweep(T0_NS + 2 * SECOND_NS)
    assert client.take() == []
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    got = client.take()
    assert got[0]["topics"][0]["recovered"] is True
    assert seqs(got, "trades.BTC") == [4, 5]


def test_topics_of_a_wildcard_recover_by_their_own_names() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    client.say(action="unsubscribe", all=True)
    client.say(action="subscribe", topics=["trades.*"], since=since(3))
    bridge.sweep(T0_NS + 6 * SECOND_NS)
    ack, *rest = client.take()
    entries = {one["topic"]: one for one in ack["topics"]}
    assert entries["trades.BTC"]["recovered"] is True
    assert entries["trades.*"]["matched"] > 1
    missed = [one for one in rest if one.get("topic") == "trades.BTC"]
    assert [(one["seq"], one["recovered"]) for one in missed] == [(4, True), (5, True)]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_positions_of_a_wildcard_are_what_since_takes(codec: str) -> None:
    """Of every topic that has a value and no entry of its own; after them nothing is missing."""
    bridge, _ = make_bridge()
    client = full(bridge, codec=codec)
    client.say(action="subscribe", topics=["trades.*"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    bridge.sweep(T0_NS + SECOND_NS)
    (entry,) = next(one for one in client.take() if one["type"] == "subscription")["topics"]
    assert entry["positions"] == {"trades.BTC": {"epoch": epoch_text(EPOCH), "seq": 5}}
    deliver(bridge, warm("trades", symbol="ETH-USDT"))
    deliver(bridge, live("trades", 6), live("trades", 1, symbol="ETH-USDT"))
    bitcoin, ether = client.take()
    assert (bitcoin["seq"], "epoch" in bitcoin) == (6, False)
    assert ether["epoch"] == epoch_text(EPOCH), "who had no position is told the count"

    again = full(bridge, codec=codec)
    again.say(action="subscribe", topics=["trades.*"], since=entry["positions"])
    bridge.sweep(T0_NS + 7 * SECOND_NS)
    ack, *rest = again.take()
    entries = {one["topic"]: one for one in ack["topics"]}
    assert entries["trades.BTC"]["recovered"] is True
    assert entries["trades.*"]["positions"] == {
        "trades.ETH": {"epoch": epoch_text(EPOCH), "seq": 1}
    }
    assert seqs(rest, "trades.BTC") == [6]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_position_of_the_wildcard_itself_means_nothing(codec: str) -> None:
    bridge, _ = make_bridge()
    first, client = full(bridge, codec=codec), full(bridge, codec=codec)
    first.say(action="subscribe", topics=["trades.*"])
    for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT"):
        deliver(bridge, *[live("trades", n, symbol=symbol) for n in range(1, 6)])
        deliver(bridge, warm("trades", symbol=symbol))
    position = {"epoch": epoch_text(EPOCH), "seq": 3}
    client.say(action="subscribe", topics=["trades.*"], since={"trades.*": position})
    bridge.sweep(T0_NS + 7 * SECOND_NS)
    ack, *rest = client.take()
    assert [one["topic"] for one in ack["topics"]] == ["trades.*"]
    assert not [one for one in rest if one.get("recovered")]


def test_a_client_that_has_seen_a_later_count_is_waited_for() -> None:
    """Another worker has heard of the publisher's new start before this one."""
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge)
    first.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], warm("trades"))
    client.say(action="subscribe", topics=["trades.BTC"], since=since(2, EPOCH + 1))
    assert client.take() == []
    deliver(bridge, *[live("trades", n, epoch=EPOCH + 1) for n in range(1, 5)])
    got = client.take()
    assert got[0]["topics"][0]["recovered"] is True
    assert seqs(got, "trades.BTC") == [3, 4]


def test_a_later_count_that_never_comes_is_not_waited_for_long() -> None:
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge)
    first.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    zs = {"trades.BTC": {"epoch": "z" * 16, "seq": 1}}
    client.say(action="subscribe", topics=["trades.BTC"], since=zs)
    bridge.sweep(T0_NS + SECOND_NS)
    entry = client.take()[0]["topics"][0]
    assert (entry["recovered"], entry["reason"]) == (False, "epoch")


@pytest.mark.parametrize("wanted", [["trades.*", "*.BTC"], ["*.BTC", "trades.BTC"]])
@pytest.mark.parametrize("request_of", [{"since": since(3)}, {"history": 2}])
def test_what_several_of_a_request_match_is_given_once(
    wanted: list[str], request_of: dict[str, Any]
) -> None:
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge)
    first.say(action="subscribe", topics=["*.BTC"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], live("price", 1))
    deliver(bridge, warm("trades"), warm("price"))
    client.say(action="subscribe", topics=wanted, **request_of)
    bridge.sweep(T0_NS + 7 * SECOND_NS)
    ack, *got = client.take()
    assert seqs(got, "trades.BTC") == [4, 5]
    assert seqs(got, "price.BTC") == [1]
    entries = [one for one in ack["topics"] if one["topic"] == "trades.BTC"]
    if "since" in request_of:
        assert [entry["recovered"] for entry in entries] == [True]
    else:
        assert [entry["history"] for entry in entries] == [2] * ("trades.BTC" in wanted)
    deliver(bridge, live("trades", 6))
    assert seqs(client.take(), "trades.BTC") == [6], "and once from here on"


@pytest.mark.parametrize("code", ["symbol_unknown", "limit_subscriptions"])
def test_a_wildcard_still_brings_what_was_refused_by_name(code: str) -> None:
    """For having no value, or as one topic too many."""
    limit = 100 if code == "limit_subscriptions" else 101  # a wildcard counts as a hundred
    bridge, _ = make_bridge(f"bridge.max_subscriptions={limit}")
    client = full(bridge)
    client.say(action="subscribe", topics=["price.*"])
    bridge.sweep(T0_NS + SECOND_NS)
    client.take()
    got = client.say(action="subscribe", topics=["price.BTC"], allow_pending=False)
    bridge.sweep(T0_NS + 2 * SECOND_NS)
    (ack, *_) = got + client.take()
    assert [one["code"] for one in ack["rejected"]] == [code]
    deliver(bridge, live("price", 1), warm("price"))
    deliver(bridge, live("price", 2))
    assert seqs(client.take()) == [1, 2]


@pytest.mark.parametrize("other", [{}, {"numbers": "string"}, {"conflate_ms": 1_000}])
def test_a_snapshot_asked_for_again_is_not_told_twice(other: dict[str, Any]) -> None:
    """Not with the interval in which it was given, nor when the client has caught up."""
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["price.BTC"], conflate_ms=500)
    deliver(bridge, live("price", 1), warm("price"))
    for seq in (2, 3, 4):
        deliver(bridge, live("price", seq))
    client.take()
    got = client.say(action="subscribe", topics=["price.BTC"], snapshot=True, **other)
    bridge.run_due(T0_NS + 2 * SECOND_NS)
    assert seqs(got + client.take()) == [4]
    client.is_stuck = True
    client.press(T0_NS, 300_000)
    deliver(bridge, live("price", 5), live("price", 6), now_ns=T0_NS + 4 * SECOND_NS)
    client.take()
    client.say(action="subscribe", topics=["price.BTC"], snapshot=True)
    deliver(bridge, live("price", 7), live("price", 8), now_ns=T0_NS + 5 * SECOND_NS)
    bridge.run_due(T0_NS + 8 * SECOND_NS)
    prices = [one for one in client.drain() if one["type"] == "price"]
    assert [(one["seq"], one.get("conflated", 0)) for one in prices] == [(6, 0), (8, 1)]


def test_a_snapshot_of_less_depth_is_not_the_value_that_is_due() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["orderbook.*"], conflate_ms=500)
    bridge.sweep(T0_NS + SECOND_NS)
    deliver(bridge, live("orderbook", 1), warm("orderbook"), now_ns=T0_NS + SECOND_NS)
    deliver(bridge, live("orderbook", 2), now_ns=T0_NS + SECOND_NS)
    deliver(bridge, live("orderbook", 3), now_ns=T0_NS + SECOND_NS)
    client.take()
    got = client.say(
        action="subscribe", topics=["orderbook.BTC"], conflate_ms=1_000, depth=1, snapshot=True
    )
    bridge.run_due(T0_NS + 4 * SECOND_NS)
    books = [(m["seq"], len(m["data"]["bids"])) for m in got + client.take() if "seq" in m]
    assert books == [(3, 1), (3, 2)]


names = st.sampled_from(
    ["trades.BTC", "trades.btc-usdt", "price.BTC", "orderbook.BTC#delta", "trades.*", "*.BTC",
     "*.*", "*", "", "trades.", "news.*", "trades.*@sim", "orderbook.*#delta", "x" * 200, "tr*.BTC"]
)  # fmt: skip
epochs = st.one_of(
    st.just(epoch_text(EPOCH)),
    st.just(epoch_text(EPOCH + 1)),
    st.text(max_size=20),
    st.just("z" * 16),
)
seq_values = st.one_of(st.integers(0, 9), st.integers(-(2**70), 2**70), st.floats(), st.none())


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@given(
    topics=st.lists(names, min_size=1, max_size=5),
    since=st.dictionaries(names, st.fixed_dictionaries({"epoch": epochs, "seq": seq_values})),
)
def test_whatever_positions_are_claimed_the_answer_is_an_answer(
    codec: str, topics: list[str], since: dict[str, Any]
) -> None:
    """One acknowledgement or one error; nothing is recovered that was not missed."""
    bridge, _ = make_bridge()
    first, client = full(bridge), full(bridge, codec=codec)
    first.say(action="subscribe", topics=["*.BTC", "trades.*"])
    deliver(bridge, *[live("trades", n) for n in range(1, 6)], live("price", 1))
    deliver(bridge, warm("trades"), warm("price"))
    try:
        got = client.say(action="subscribe", topics=topics, since=since, id=1)
    except (OverflowError, ValueError):
        return  # no message of this codec can say that
    for seconds in range(1, 12):
        bridge.sweep(T0_NS + seconds * SECOND_NS)
    got += client.take()
    answers = [one for one in got if one.get("id") == 1 and one["type"] != "snapshot_end"]
    assert len(answers) == 1
    if answers[0]["type"] == "error":
        assert answers[0]["code"] in ("bad_request", "bad_json")
        return
    recovered = [one["seq"] for one in got if one.get("recovered") and one["topic"] == "trades.BTC"]
    claims = [one["seq"] for one in since.values()]
    assert not recovered or recovered == list(range(recovered[0], 6))
    assert not recovered or recovered[0] - 1 in claims
    for entry in answers[0]["topics"]:
        assert not entry.get("positions", {}).keys() & {
            one["topic"] for one in answers[0]["topics"]
        }
