"""Point 8: a feed process is killed, under a real supervisor; what its clients see of it.

A first crash is followed by an immediate restart, each further one by a wait of some seconds, in
which the feed is down for long enough to be looked at: the first one is behind us here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from bus.clock import monotonic_ns
from bus.testing import eventually
from tests.conformance.conftest import Client
from tests.e2e.running_bus import RunningBus, making_buses
from tests.stalls import Stalls

_NS = 1_000_000_000
FEED = "binance"
TOPICS = ["price.BTC", "trades.BTC", "orderbook.BTC"]
COUNTED = {"price.BTC", "trades.BTC", "trades.ETH", "quote.SOL"}
DOWN_S = 5.0


@pytest.fixture(scope="module")
def bus() -> Iterator[RunningBus]:
    with making_buses() as make:
        running = make()
        running.up(
            f"supervisor.backoff_first_s={DOWN_S}",
            f"supervisor.backoff_cap_s={DOWN_S}",
            "supervisor.stable_after_s=600",
            "bridge.limits.actions_burst=100000",  # a test asks again and again until it is so
        )
        running.wait_ready_again(f"feed.{FEED}", running.kill(f"feed.{FEED}"))
        yield running


@contextlib.asynccontextmanager
async def following(bus: RunningBus, codec: str) -> AsyncIterator[Client]:
    """A client of the feed's topics, by name and by wildcard, once it has values of them."""
    async with connect(
        f"ws://127.0.0.1:{bus.port}/ws/v1/",
        subprotocols=[Subprotocol(f"mdbus.v1.{codec}")],
        max_queue=None,
    ) as ws:
        client = Client(ws)

        async def is_live() -> bool:
            await client.say(action="status", feeds=[FEED], id="s")
            return bool((await client.until("status", id="s"))["state"] == "live")

        await eventually(is_live, 30, "the feed is live")
        await client.say(action="subscribe", topics=TOPICS, id=1)
        await client.say(action="subscribe", topics=["trades.*", "quote.*"], id=2)
        await client.until("snapshot_end", id=2)
        for topic in TOPICS:
            kind = {"trades": "trade"}.get(topic.partition(".")[0], topic.partition(".")[0])
            await client.until(kind, topic=topic)
        yield client


async def told_down(client: Client, bus: RunningBus) -> None:
    """Kill the feed, and hold the time until the client knows to the second it may take."""
    pid: int = (await asyncio.to_thread(bus.process, f"feed.{FEED}"))["pid"]
    with Stalls() as stalls:
        began_ns = monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        told = await client.until("status", scope="feed", feed=FEED, state="down")
        took_s = (monotonic_ns() - began_ns) / _NS
        assert took_s < 1.0 + stalls.allowance_s(began_ns / _NS), took_s
    assert told["reason"] == "exited"
    assert "SIGKILL" in told["detail"]
    assert told["topics"] > 0


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_08_a_killed_feed_is_told_down_its_values_stale_and_begins_a_new_count(
    codec: str, bus: RunningBus
) -> None:
    async with following(bus, codec) as client:
        await eventually(lambda: _has_value(client, "ticker.BTC"), 20, "a topic for later")
        watched = await positions(client)
        await told_down(client, bus)
        await client.say(action="snapshot", topics=TOPICS, history=3, id=3)
        values: list[dict[str, Any]] = []
        while (message := await client.next()).get("type") != "snapshot_end":
            if message.get("snapshot"):
                values.append(message)
        assert {one["topic"] for one in values} == set(TOPICS)
        assert all(one["stale"] is True and one["age_ms"] >= 0 for one in values)
        await client.say(action="list", id=4)
        listed = (await client.until("list", id=4))["subscriptions"]
        states = {one["topic"]: one["state"] for one in listed}
        assert {states[topic] for topic in TOPICS} == {"down"}
        others = {one["state"] for one in listed if one["topic"] == "trades.AAPL"}
        assert others <= {"live", "pending"}, "the other feed's topics are none of this"
        await client.say(action="subscribe", topics=["ticker.BTC"], id=5)
        entry = (await client.until("subscription", id=5))["topics"][0]
        assert entry["state"] == "down"
        assert entry["age_ms"] >= 0
        await begins_anew(client, watched)
        await eventually(lambda: _is_live(client, "price.BTC"), 30, "its values are live again")


async def _is_live(client: Client, topic: str) -> bool:
    await client.say(action="list", id="l")
    listed = (await client.until("list", id="l"))["subscriptions"]
    return any(one["topic"] == topic and one["state"] == "live" for one in listed)


async def _has_value(client: Client, topic: str) -> bool:
    await client.say(action="snapshot", topics=[topic], id="v")
    return topic not in (await client.until("snapshot_end", id="v"))["empty"]


async def positions(client: Client) -> dict[str, tuple[str, int]]:
    """Where some topics stand, of those by name and of those by wildcard."""
    watched: dict[str, tuple[str, int]] = {}

    async def all_have_one() -> bool:
        await client.say(action="list", id="before")
        listed = (await client.until("list", id="before"))["subscriptions"]
        counted = [one for one in listed if one["topic"] in COUNTED and "epoch" in one]
        watched.update({one["topic"]: (one["epoch"], one["seq"]) for one in counted})
        return watched.keys() == COUNTED

    await eventually(all_have_one, 20, "each has a value, and so a position")
    return watched


async def begins_anew(client: Client, watched: dict[str, tuple[str, int]]) -> None:
    """The feed is back: each topic's count begins anew, with a word; the old one is no position."""
    old = dict(watched)
    reset: set[str] = set()
    while any(watched[topic][0] == old[topic][0] for topic in watched):
        message = await client.next()
        topic = message.get("topic", "")
        if topic not in watched:
            continue
        epoch, seq = watched[topic]
        if message["type"] == "reset":
            assert message["reason"] == "epoch"
            assert message["epoch"] != epoch
            reset.add(topic)
        elif "seq" in message and not message.get("snapshot"):
            if message.get("epoch", epoch) != epoch:
                assert topic in reset, f"{topic} has begun anew without a reset"
                assert message["seq"] >= 1
            else:
                assert message["seq"] > seq, topic
            watched[topic] = (message.get("epoch", epoch), message["seq"])
        elif "seq" in message:
            assert topic in reset
            watched[topic] = (message["epoch"], message["seq"])
    since = {topic: {"epoch": epoch, "seq": seq} for topic, (epoch, seq) in old.items()}
    await client.say(action="subscribe", topics=["trades.BTC"], since=since, id="since")
    entry = (await client.until("subscription", id="since"))["topics"][0]
    assert (entry["recovered"], entry["reason"]) == (False, "epoch")
