"""The first messages of a topic: history, recovery, snapshots."""

from __future__ import annotations

import pytest

from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    SECOND_NS,
    T0_NS,
    deliver,
    live,
    make_bridge,
    multi,
    seqs,
    warm,
)


def test_history_is_sent_oldest_first_and_counted() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], history=3)
    deliver(bridge, *[live("trades", n) for n in range(1, 11)], warm("trades"))
    deliver(bridge, live("trades", 11))
    got = client.take()
    assert seqs(got, "trades.BTC") == [8, 9, 10, 11]
    assert got[0]["topics"][0]["history"] == 3
    assert [m.get("snapshot") for m in got[1:]] == [True, True, True, None]


def test_trades_too_old_are_no_history() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], history=10)
    old, new = live("trades", 1), live("trades", 2, at_ns=T0_NS + 400 * SECOND_NS)
    deliver(bridge, old, new, warm("trades"), now_ns=T0_NS + 401 * SECOND_NS)
    assert seqs(client.take(), "trades.BTC") == [2]


@pytest.mark.parametrize(
    ("since", "recovered", "reason", "expected"),
    [
        ((EPOCH, 7), True, None, [8, 9, 10]),
        ((EPOCH, 10), True, None, []),
        ((EPOCH - 1, 7), False, "epoch", []),
        ((EPOCH, 1), False, "evicted", []),
    ],
)
def test_recovery_replays_exactly_what_was_missed_or_says_why_not(
    since: tuple[int, int], recovered: bool, reason: str | None, expected: list[int]
) -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    position = {"epoch": epoch_text(since[0]), "seq": since[1]}
    client.say(action="subscribe", topics=["trades.BTC"], since={"trades.BTC": position})
    deliver(bridge, *[live("trades", n) for n in range(5, 11)], warm("trades"))
    got = client.take()
    entry = got[0]["topics"][0]
    assert (entry["recovered"], entry.get("reason")) == (recovered, reason)
    assert seqs(got, "trades.BTC") == expected
    assert all(m["recovered"] and "snapshot" not in m for m in got[1:])


def test_recovery_of_a_state_topic_is_one_message_if_anything_changed() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    for seq, expected in ((3, [4]), (4, [])):
        position = {"epoch": epoch_text(EPOCH), "seq": seq}
        got = client.say(action="subscribe", topics=["price.BTC"], since={"price.BTC": position})
        if not got:
            deliver(bridge, live("price", 4), warm("price"))
            got = client.take()
        assert seqs(got) == expected
        client.say(action="unsubscribe", all=True)


def test_too_much_to_recover_falls_back_whole() -> None:
    bridge, _ = make_bridge("bridge.history=5")
    client = multi(bridge)
    position = {"epoch": epoch_text(EPOCH), "seq": 1}
    client.say(action="subscribe", topics=["trades.BTC"], since={"trades.BTC": position})
    deliver(bridge, *[live("trades", n) for n in range(1, 11)], warm("trades"))
    got = client.take()
    assert got[0]["topics"][0]["reason"] == "too_many"
    assert len(got) == 1
