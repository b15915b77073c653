"""The served client's change from one connection to the next, move by move, against a script."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.wsbridge.follower import CLIENT, SCRIPT

pytestmark = pytest.mark.node

TOPIC = "trades.ETH"
Move = tuple[int, dict[str, Any]] | tuple[int, str, int]


def hello(at: int) -> Move:
    return at, {"type": "connection", "status": "connected", "heartbeat_ms": 15_000}


def draining(at: int) -> Move:
    return at, {"type": "connection", "status": "draining", "retry_after_ms": 0}


def ack(at: int, seq: int, epoch: str = "e1", **entry: Any) -> Move:
    """Of a wildcard: with a position, or an entry of the topic's own."""
    pattern: dict[str, Any] = {"topic": "trades.*", "requested": "trades.*", "matched": 1, "seq": 0}
    topics = [pattern]
    if entry:
        topics.insert(
            0, {"topic": TOPIC, "requested": "trades.*", "epoch": epoch, "seq": seq} | entry
        )
    else:
        pattern["positions"] = {TOPIC: {"epoch": epoch, "seq": seq}}
    return at, {"type": "subscription", "action": "subscribed", "topics": topics, "rejected": []}


def trade(at: int, seq: int, **more: Any) -> Move:
    return at, {"type": "trade", "topic": TOPIC, "seq": seq, "data": {}, **more}


def reset(at: int, epoch: str) -> Move:
    return at, {"type": "reset", "topic": TOPIC, "epoch": epoch, "reason": "epoch"}


def play(node: list[str], *moves: Move) -> tuple[list[Any], list[dict[str, Any]]]:
    """What was shown of the topic (numbers; gaps as pairs; resets as epochs), and all lines."""
    script = SCRIPT.with_name("scripted.mjs")
    done = subprocess.run(
        [*node, str(script), str(CLIENT), json.dumps(moves)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    shown: list[Any] = []
    for line in lines:
        message = line.get("shown", {})
        if message.get("topic") != TOPIC:
            continue
        kind = message["type"]
        what = {"reset": "epoch", "trade": "seq"}
        shown.append((message["from"], message["to"]) if kind == "gap" else message[what[kind]])
    return shown, lines


def begun(seq: int) -> list[Move]:
    """The first connection serves, the second one is greeted."""
    return [hello(0), ack(0, seq), trade(0, seq + 1), draining(0), hello(1)]


def left(lines: list[dict[str, Any]]) -> list[int]:
    return [line["left"] for line in lines if "left" in line]


def test_both_bring_the_same_and_each_is_shown_once(node: list[str]) -> None:
    shown, lines = play(
        node, *begun(5), trade(0, 7), ack(1, 8, recovered=True), trade(0, 8),
        trade(1, 7, recovered=True), trade(1, 8, recovered=True), trade(1, 9),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9]
    (asked,) = [line["asked"] for line in lines if line.get("connection") == 1]
    assert asked["since"] == {TOPIC: {"epoch": "e1", "seq": 6}}
    assert left(lines) == [0]


def test_the_old_one_goes_on_until_the_next_ones_beginning(node: list[str]) -> None:
    shown, lines = play(
        node, *begun(5), ack(1, 8, recovered=False, reason="too_many"), trade(1, 9), trade(0, 7),
        trade(1, 10), trade(0, 8), trade(1, 11),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9, 10, 11]
    assert left(lines) == [0]


def test_what_an_old_one_that_ends_has_not_brought_is_asked_for_again(node: list[str]) -> None:
    """The next one was asked from where its client stood then, too far back; now it is nearer."""
    shown, lines = play(
        node, *begun(5), ack(1, 9, recovered=False, reason="too_many"), trade(1, 10), trade(0, 7),
        (0, "close", 4001), ack(1, 10, recovered=True), trade(1, 8, recovered=True),
        trade(1, 9, recovered=True), trade(1, 10, recovered=True), trade(1, 11),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9, 10, 11]
    asked = [line["asked"] for line in lines if line.get("connection") == 1]
    assert [one["since"][TOPIC]["seq"] for one in asked] == [6, 7]
    assert (asked[1]["topics"], asked[1]["snapshot"], asked[1]["history"]) == (
        ["trades.*"],
        False,
        0,
    )
    assert [line["state"] for line in lines if "state" in line] == ["open"]


def test_what_is_refused_again_is_a_gap_up_to_where_the_next_one_began(node: list[str]) -> None:
    shown, lines = play(
        node, *begun(5), ack(1, 8, recovered=False, reason="evicted"), trade(1, 9), trade(0, 7),
        (0, "close", 4001), trade(1, 10), ack(1, 10, recovered=False, reason="evicted"),
        trade(1, 11),
    )  # fmt: skip
    assert shown == [6, 7, (8, 8), 9, 10, 11], "what came while it was asked is not thrown away"
    assert [line["state"] for line in lines if "state" in line] == ["open"]


@pytest.mark.parametrize("is_old_silent", [True, False])
def test_what_the_bus_did_not_answer_in_time_comes_late(
    node: list[str], is_old_silent: bool
) -> None:
    cold = ack(1, 0, recovered=False, reason="disabled")
    del cold[1]["topics"][0]["epoch"]  # type: ignore[index,union-attr]
    more = [] if is_old_silent else [trade(0, 7)]
    shown, _ = play(
        node, *begun(5), *more, cold, (0, "close", 4001),
        trade(1, 7, recovered=True, epoch="e1"), trade(1, 8, recovered=True, epoch="e1"),
        trade(1, 9),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9]


def test_an_answer_that_comes_after_the_old_one_has_ended_is_no_last_word(node: list[str]) -> None:
    """It was asked from where its client stood then; the old one brought more before it ended."""
    shown, lines = play(
        node, *begun(5), (1, "open", 0), trade(0, 7), (0, "close", 4001),
        ack(1, 9, recovered=False, reason="too_many"), trade(1, 10),
        ack(1, 10, recovered=True), trade(1, 8, recovered=True), trade(1, 9, recovered=True),
        trade(1, 10, recovered=True), trade(1, 11),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9, 10, 11]
    asked = [line["asked"] for line in lines if line.get("connection") == 1]
    assert [one["since"][TOPIC]["seq"] for one in asked] == [6, 7]


def test_an_answer_to_what_was_shown_last_is_the_last_word(node: list[str]) -> None:
    shown, lines = play(
        node, *begun(5), (0, "close", 4001), ack(1, 9, recovered=False, reason="too_many"),
        trade(1, 10),
    )  # fmt: skip
    assert shown == [6, (7, 9), 10]
    assert len([line for line in lines if line.get("connection") == 1]) == 1, "asked once"


def test_a_reset_while_it_is_asked_again_is_told_in_its_place(node: list[str]) -> None:
    shown, _ = play(
        node, *begun(5), ack(1, 8, recovered=False, reason="too_many"), trade(1, 9), trade(0, 7),
        (0, "close", 4001), reset(1, "e2"), trade(1, 1, epoch="e2"),
        ack(1, 1, "e2", recovered=False, reason="epoch"), trade(1, 2),
    )  # fmt: skip
    assert shown == [6, 7, (8, 8), 9, "e2", 1, 2]


def patient(time: str) -> Move:
    """A notice of a server that leaves in half a minute, by its own clock."""
    notice = draining(0)[1]
    assert isinstance(notice, dict)
    return 0, notice | {"retry_after_ms": 30_000, "timestamp": f"2026-01-28T{time}.000000Z"}


def test_who_hears_late_that_a_server_leaves_hurries(node: list[str]) -> None:
    """It took half a minute longer on its way than the greeting did."""
    greeting = hello(0)[1]
    assert isinstance(greeting, dict)
    shown, lines = play(
        node, (0, greeting | {"timestamp": "2026-01-28T10:30:00.000000Z"}), ack(0, 5), trade(0, 6),
        patient("10:29:30"), hello(1), ack(1, 6, recovered=True), trade(1, 7),
    )  # fmt: skip
    assert shown == [6, 7]
    assert left(lines) == [0]


def test_a_page_whose_timers_are_late_follows_when_it_hears_anything(node: list[str]) -> None:
    shown, lines = play(
        node, hello(0), ack(0, 5), trade(0, 6), patient("10:30:00"), (0, "clock", 31_000),
        trade(0, 7), hello(1), ack(1, 7, recovered=True), trade(1, 8),
    )  # fmt: skip
    assert shown == [6, 7, 8]
    assert left(lines) == [0]


def test_a_new_count_while_the_next_one_waits(node: list[str]) -> None:
    shown, lines = play(
        node, *begun(5), ack(1, 8, recovered=False, reason="too_many"), trade(1, 9), trade(0, 7),
        reset(0, "e2"), trade(0, 1, epoch="e2"), reset(1, "e2"), trade(1, 1, epoch="e2"),
        trade(1, 2),
    )  # fmt: skip
    assert shown == [6, 7, (8, 8), 9, "e2", 1, 2]
    assert left(lines) == [0]


def test_a_next_one_of_a_later_count_takes_over_with_a_reset(node: list[str]) -> None:
    shown, _ = play(
        node, *begun(5), ack(1, 3, "e2", recovered=False, reason="epoch"), trade(0, 7),
        trade(1, 4), trade(1, 5),
    )  # fmt: skip
    assert shown == [6, "e2", 4, 5]


def test_a_next_one_that_fails_after_it_has_begun_is_come_back_from(node: list[str]) -> None:
    """What the old one brought meanwhile was not shown: both are left, and nothing is missing."""
    shown, lines = play(
        node, *begun(5), ack(1, 8, recovered=False, reason="evicted"),
        trade(0, 7), trade(0, 8), (1, "close", 1006), hello(2), ack(2, 9, recovered=True),
        trade(2, 9, recovered=True), trade(2, 10),
    )  # fmt: skip
    assert shown == [6, 7, 8, 9, 10]
    asked = [line["asked"] for line in lines if line.get("connection") == 2]
    assert asked[0]["since"] == {TOPIC: {"epoch": "e1", "seq": 8}}


def test_a_next_one_that_is_refused_is_not_tried_again_before_the_old_one_ends(
    node: list[str],
) -> None:
    shown, lines = play(
        node, hello(0), ack(0, 5), trade(0, 6), draining(0), (1, "close", 4504), trade(0, 7),
        (0, "close", 4001), hello(2), ack(2, 8, recovered=True), trade(2, 8, recovered=True),
    )  # fmt: skip
    assert shown == [6, 7, 8]
    states = [line["state"] for line in lines if "state" in line]
    assert states == ["open", "waiting", "open"]


def test_an_old_one_replaced_by_the_next_is_no_end(node: list[str]) -> None:
    """A user with one connection only: the newer one closes the older, which is not final."""
    shown, lines = play(
        node, hello(0), ack(0, 5), trade(0, 6), draining(0), (1, "open", 0), (0, "close", 4505),
        hello(1), ack(1, 8, recovered=True), trade(1, 7, recovered=True),
        trade(1, 8, recovered=True),
    )  # fmt: skip
    assert shown == [6, 7, 8]
    assert [line["state"] for line in lines if "state" in line][-1] == "open"


def test_a_hole_that_nobody_announced_is_one(node: list[str]) -> None:
    shown, _ = play(node, hello(0), ack(0, 5), trade(0, 6), trade(0, 9))
    assert shown == [6, (7, 8), 9]


def test_of_a_state_topic_no_value_that_the_old_one_brings_is_left_out(node: list[str]) -> None:
    """The next one recovers its newest value only; the old one has those before it."""

    def price(at: int, seq: int, **more: Any) -> Move:
        return at, {"type": "price", "topic": TOPIC, "seq": seq, "data": {}, **more}

    def as_price(move: Move) -> Move:
        renamed: Move = json.loads(json.dumps(move).replace(TOPIC, "price.ETH"))
        return renamed

    moves = [
        hello(0), ack(0, 5), price(0, 6), draining(0), hello(1), ack(1, 9, recovered=True),
        price(1, 9, recovered=True), price(0, 7), price(1, 10), price(0, 8), price(0, 9),
        price(1, 11),
    ]  # fmt: skip
    _, lines = play(node, *map(as_price, moves))
    shown = [line["shown"]["seq"] for line in lines if line.get("shown", {}).get("topic")]
    assert shown == [6, 7, 8, 9, 10, 11]
    assert left(lines) == [0]
