"""Points 1 to 7: the legacy samples, the handshake, acknowledgements, snapshots, recovery."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from bus.config import load
from bus.model import OrderBook, Price, Trade
from bus.testing import eventually
from tests.conformance.conftest import _ENV, DEADLINE_S, ROOT, Client, Feed, Join, StartBridge

SAMPLES = ROOT / "tests" / "wsbridge" / "legacy_samples.mjs"


@pytest.fixture
def full_rate(broker_dir: Path) -> Iterator[None]:
    """Another process publishes 3,000 trades and prices a second."""
    endpoint = load(None, [f"run_dir={broker_dir}"]).endpoints.publish
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.publisher", endpoint, "3000"],
        cwd=ROOT,
        env=_ENV,
        stdin=subprocess.PIPE,
    )
    yield
    assert process.stdin is not None
    assert process.poll() is None, "the publisher has published to the end"
    process.stdin.close()
    process.wait(10)


@pytest.mark.node
async def test_01_the_legacy_samples_run_unmodified(
    start_bridge: StartBridge, feed: Feed, node: list[str]
) -> None:
    bridge = await start_bridge()
    process = await asyncio.create_subprocess_exec(
        *node, str(SAMPLES), f"127.0.0.1:{bridge.port}", stdout=asyncio.subprocess.PIPE
    )
    ended = asyncio.create_task(process.communicate())

    def is_over() -> bool:
        for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT"):
            feed.say("price", symbol, Price(100.5, 1.0, 1.0, 5.0))
        feed.say("orderbook", "BTC-USDT", OrderBook(7, [(49990.0, 1.0)], [(50010.0, 1.0)]))
        return ended.done()

    await eventually(is_over, DEADLINE_S, "the samples have seen everything")
    out, _ = await ended
    assert process.returncode == 0, out


async def test_02_what_was_not_offered_is_never_echoed(start_bridge: StartBridge) -> None:
    bridge = await start_bridge()
    for offered, echoed in (
        (None, None),
        (["mdbus.v2.json", "other"], None),
        (["mdbus.bearer.eA", "mdbus.v1.json"], "mdbus.v1.json"),
    ):
        names = None if offered is None else [Subprotocol(one) for one in offered]
        async with connect(f"{bridge.ws_url}/ws/market-multi", subprotocols=names) as ws:
            assert ws.subprotocol == echoed


async def test_03_the_acknowledgement_comes_first_and_accepts_in_part(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    feed.say("price", "BTC-USDT", Price(1.0))
    client = await join(await start_bridge())
    await client.until("connection")
    await client.say(action="subscribe", id=1, symbols=["BTC", "NOPE"], conflate_ms=200)
    ack = await client.next()
    assert (ack["type"], ack["id"]) == ("subscription", 1)
    assert [entry["topic"] for entry in ack["topics"]] == ["price.BTC"]
    assert ack["topics"][0]["conflate_ms"] == 250
    assert [(one["requested"], one["code"]) for one in ack["rejected"]] == [
        ("NOPE", "symbol_unknown")
    ]
    assert (await client.next())["snapshot"] is True
    assert (await client.next())["type"] == "snapshot_end"


async def _subscribe_often(client: Client, count: int, rng: random.Random) -> int:
    """Subscribe and leave at random topics; every stream must be unbroken. Messages seen."""
    topics = [f"{stream}.{symbol}" for stream in ("trades", "price") for symbol in ("BTC", "ETH")]
    seen = 0
    for number in range(count):
        topic = rng.choice(topics)
        history = {"history": rng.choice([0, 3])} if topic.startswith("trades") else {}
        await client.say(action="subscribe", id=number, topics=[topic], **history)
        await client.say(action="unsubscribe", id=f"u{number}", topics=[topic])
        ack = await client.until("subscription", id=number)
        expected = ack["topics"][0]["seq"] + 1
        while (message := await client.next()).get("id") != f"u{number}":
            if message.get("topic") != topic or "seq" not in message:
                continue
            if message.get("snapshot"):
                assert message["seq"] < expected
            else:
                assert message["seq"] == expected, "none missing, none twice"
                expected += 1
                seen += 1
    return seen


async def test_04_ten_thousand_subscriptions_under_fire_miss_and_repeat_nothing(
    start_bridge: StartBridge, join: Join, full_rate: None
) -> None:
    bridge = await start_bridge()
    rng = random.Random(4)
    clients = [await join(bridge) for _ in range(20)]
    for client in clients:
        await client.until("connection")
    keeper = await join(bridge)  # so that topics stay warm, and live messages come between
    await keeper.say(action="subscribe", topics=["trades.*", "price.*"])
    await keeper.until("subscription")
    seen = await asyncio.gather(
        *(_subscribe_often(client, 500, random.Random(rng.random())) for client in clients)
    )
    await keeper.say(action="subscribe", topics=["trades.SOL"], history=5)
    assert sum(seen) > 0
    last = 0
    for _ in range(1_000):
        message = await keeper.next()
        if message.get("topic") == "trades.BTC" and "seq" in message:  # a status has none
            assert last in (0, message["seq"] - 1)
            last = message["seq"]


async def test_05_unsubscribe_is_a_barrier(
    start_bridge: StartBridge, join: Join, full_rate: None
) -> None:
    client = await join(await start_bridge())
    for number in range(50):
        await client.say(action="subscribe", topics=["trades.BTC", "price.BTC"])
        await client.until("trade")
        await client.say(action="unsubscribe", id=number, all=True)
        await client.until("subscription", id=number)
        await client.say(action="ping", id=number)
        while (message := await client.next())["type"] != "pong":
            assert message["type"] in ("status", "heartbeat"), "nothing after unsubscribed"


async def test_06_a_duplicate_subscribe_changes_the_conflation(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    client = await join(await start_bridge())
    await client.say(action="subscribe", id=1, symbols=["BTC"])
    await client.until("snapshot_end", id=1)
    await client.say(action="subscribe", id=2, symbols=["BTC"], conflate_ms=1000)
    entry = (await client.until("subscription", id=2))["topics"][0]
    assert (entry["already"], entry["conflate_ms"], entry["snapshot"]) == (True, 1000, False)
    await client.say(action="list")
    listed = (await client.until("list"))["subscriptions"]
    assert [(one["topic"], one["conflate_ms"]) for one in listed] == [("price.BTC", 1000)]
    first = feed.say("price", "BTC-USDT", Price(1.0))
    assert (await client.until("price"))["seq"] == first
    last = [feed.say("price", "BTC-USDT", Price(float(n))) for n in range(20)][-1]
    message = await client.until("price")
    assert (message["seq"], message["conflated"]) == (last, 19)


async def test_07_recovery_is_exact_or_says_why_not(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    for number in range(5):
        feed.say("trades", "BTC-USDT", Trade(1.0, float(number)))
    seen = feed.say("trades", "BTC-USDT", Trade(1.0, 9.0))
    watcher = await join(await start_bridge())

    async def epoch_of() -> Any:
        await watcher.say(action="snapshot", topics=["trades.BTC"])
        while (message := await watcher.next())["type"] != "snapshot_end":
            if message.get("seq") == seen:
                return message["epoch"]
        return None

    epoch = await eventually(epoch_of)
    other = await start_bridge()  # any worker can answer

    async def recover(epoch: str, seq: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        client = await join(other)
        since = {"trades.BTC": {"epoch": epoch, "seq": seq}}
        await client.say(action="subscribe", topics=["trades.BTC"], since=since, history=1)
        entry = (await client.until("subscription"))["topics"][0]
        got = []
        while (message := await client.next())["type"] != "snapshot_end":
            got.append(message)
        return entry, got

    entry, got = await recover(epoch, seen - 3)
    assert entry["recovered"] is True, (entry["reason"], entry["epoch"], epoch, entry["seq"], seen)
    assert [m["seq"] for m in got] == [seen - 2, seen - 1, seen]
    assert all(m["recovered"] for m in got)
    entry, got = await recover(epoch, seen)
    assert (entry["recovered"], got) == (True, [])
    entry, got = await recover("other", seen)
    assert (entry["recovered"], entry["reason"]) == (False, "epoch")
    assert [(m["seq"], m["snapshot"]) for m in got] == [(seen, True)]
    for number in range(1_200):
        last = feed.say("trades", "BTC-USDT", Trade(1.0, float(number)))

    async def is_far() -> bool:
        _, got = await recover("other", 1)
        return bool(got and got[-1]["seq"] == last)

    await eventually(is_far, DEADLINE_S)
    entry, got = await recover(epoch, seen)
    assert (entry["recovered"], entry["reason"]) == (False, "too_many")
    assert [m["seq"] for m in got] == [last], "never a partial replay"
    entry, _ = await recover(epoch, last - 1_000)
    assert entry["recovered"] is True
