"""Points 9 to 13: health, conflation, slow clients, gaps, wildcards."""

from __future__ import annotations

import asyncio
import itertools

from bus.clock import monotonic_ns, now_ns
from bus.model import Depth, OrderBook, Price, Status, Trade
from bus.model.topic import Topic
from bus.model.trade_loss import TRADES_LOST, loss_text
from bus.testing import eventually
from tests.conformance.conftest import DEADLINE_S, Feed, Join, StartBridge

_NS = 1_000_000_000


async def test_09_a_mute_feed_is_stale_at_its_ttl(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    feed.say_on(Topic.status("binance"), Status("live", "data", now_ns()))
    client = await join(await start_bridge("price_ttl_s = 1.0"))
    feed.say("price", "BTC-USDT", Price(1.0))
    await client.say(action="subscribe", symbols=["BTC"])
    told = await client.until("status", scope="topic", state="stale")
    assert (told["topic"], told["ttl_ms"]) == ("price.BTC", 1000)
    assert told["age_ms"] >= 1000
    feed.say("price", "BTC-USDT", Price(2.0))
    await client.until("status", scope="topic", topic="price.BTC", state="live")


async def test_10_conflation_keeps_its_rate_and_its_counts(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    client = await join(await start_bridge())
    await client.say(action="subscribe", symbols=["BTC"], conflate_ms=100)
    await client.until("snapshot_end")
    loop = asyncio.get_running_loop()
    first = feed.say("price", "BTC-USDT", Price(0.0))
    last = first
    ends = loop.time() + 1.5

    def publish() -> None:
        nonlocal last
        last = feed.say("price", "BTC-USDT", Price(float(last)))
        if loop.time() < ends:
            loop.call_later(0.002, publish)

    publish()
    seqs: list[int] = []
    counts: list[int] = []
    while not seqs or seqs[-1] != last or loop.time() < ends:
        message = await client.until("price")
        seqs.append(message["seq"])
        counts.append(message.get("conflated", 0))
    assert len(seqs) <= 1.5 / 0.1 + 2, "at most one an interval"
    assert counts[1:] == [b - a - 1 for a, b in itertools.pairwise(seqs)]


async def test_11_one_that_never_reads_harms_nobody(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    bridge = await start_bridge("send_buffer_bytes = 16384", "stuck_s = 1.0")
    healthy = [await join(bridge) for _ in range(100)]
    for client in healthy:
        await client.say(action="subscribe", topics=["trades.BTC"])
        await client.until("snapshot_end")
    before = bridge.rss_bytes()
    stuck = await join(bridge, "/ws/market/BTC/orderbook/", codec=None, ping_interval=None)
    await stuck.until("connection")
    stuck.ws.transport.pause_reading()
    levels = [(float(n), 1.0) for n in range(20)]
    worst_ns = 0
    sent = 0
    trades = 0

    def is_over() -> bool:
        nonlocal sent
        for _ in range(20):
            feed.say("orderbook", "BTC-USDT", OrderBook(1, levels, levels))
            sent += 1
        return "slow client closed" in bridge.log.read_text()

    while not is_over():
        asked = monotonic_ns()
        seq = feed.say("trades", "BTC-USDT", Trade(1.0, 1.0))
        trades += 1
        for client in healthy:
            await client.until("trade", seq=seq)
        worst_ns = max(worst_ns, monotonic_ns() - asked)
    assert trades > 5
    assert sent > 100
    assert worst_ns < 8 * _NS, "all hundred have each trade in no time"
    assert bridge.rss_bytes() - before < 30_000_000


async def test_12_a_gap_names_exactly_what_is_missing(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    bridge = await start_bridge(
        "send_buffer_bytes = 16384",
        "pressure_bytes = 16384",
        "max_buffered_bytes = 65536",
        "stuck_s = 60.0",
    )
    client = await join(bridge, ping_interval=None)
    await client.say(action="subscribe", topics=["trades.BTC"], on_slow="gap")
    ack = await client.until("subscription")
    assert ack["topics"][0]["on_slow"] == "gap"
    await client.until("snapshot_end")
    client.ws.transport.pause_reading()
    expected = feed.say("trades", "BTC-USDT", Trade(1.0, 1.0))
    watcher = await join(await start_bridge())
    await watcher.say(action="subscribe", topics=["trades.BTC"])
    await watcher.until("snapshot_end")
    last = expected
    for _ in range(134):  # a burst must fit into what is kept for the watcher
        for _ in range(150):
            last = feed.say("trades", "BTC-USDT", Trade(1.0, 1.0))
        await watcher.until("trade", seq=last)
    client.ws.transport.resume_reading()
    missing = 0
    while expected <= last:
        message = await client.next()
        if message["type"] == "gap":
            assert message["from"] == expected
            assert message["count"] == message["to"] - message["from"] + 1
            assert message["reason"] == "slow_client"
            missing += message["count"]
            expected = message["to"] + 1
        elif message["type"] == "trade":
            assert message["seq"] == expected
            expected += 1
    assert missing > 0


async def test_12_what_the_source_left_out_is_told_as_its_own(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    client = await join(await start_bridge())
    first = feed.say("trades", "SOL-USDT", Trade(1.0, 1.0))
    feed.say("depth", "SOL-USDT", Depth(10, 10, [(9.0, 1.0)], [(11.0, 1.0)], True))
    await client.say(action="subscribe", topics=["trades.SOL", "orderbook.SOL#delta"])
    await client.until("orderbook", snapshot=True)
    await client.until("snapshot_end")
    text = loss_text(30, 401, 430, "the venue does not list them")
    status = Topic.status("binance", "SOL-USDT")
    feed.say_on(status, Status("live", TRADES_LOST, now_ns(), text))
    gap = await client.until("gap", topic="trades.SOL")
    assert (gap["reason"], gap["count"]) == ("feed", 30)
    assert (gap["from"], gap["to"]) == (first + 1, first), "no message of the bus is missing"
    skipped = feed.say("depth", "SOL-USDT", Depth(15, 15, [(9.0, 2.0)], []))
    gap = await client.until("gap", topic="orderbook.SOL#delta")
    assert (gap["reason"], gap["from"], gap["to"]) == ("feed", skipped, skipped)
    whole = feed.say("depth", "SOL-USDT", Depth(20, 20, [(9.0, 3.0)], [(11.0, 1.0)], True))
    assert (await client.until("reset"))["reason"] == "feed_resync"
    assert (await client.until("orderbook"))["seq"] == whole


async def test_13_a_wildcard_sees_a_topic_created_later(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    """The topic has never been published when the wildcard is subscribed."""
    more = '[feeds.binance]\nsymbols = ["BTC-USDT", "LATE-USDT"]\n'
    client = await join(await start_bridge(more=more))
    await client.say(action="subscribe", topics=["quote.*"], id=1)
    entry = (await client.until("subscription", id=1))["topics"][0]
    assert (entry["topic"], entry["matched"] >= 2) == ("quote.*", True)
    await client.say(action="subscribe", topics=["price.*"], id=2)
    await client.until("snapshot_end", id=2)
    seq = feed.say("price", "LATE-USDT", Price(7.0))

    async def has_come() -> bool:
        message = await client.until("price", topic="price.LATE-USDT")
        return bool(message["seq"] == seq)

    await eventually(has_come, DEADLINE_S)
