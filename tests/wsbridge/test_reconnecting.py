"""The client that is served beside the API: it comes back by itself and misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from bus.client import Publisher
from bus.clock import now_ns
from bus.config import Settings
from bus.model import Body, Price, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.messages import CloseCode
from tests.wsbridge.access.tokens import JWT, SECRET, token
from tests.wsbridge.conftest import RunningServer, StartServer
from tests.wsbridge.follower import Follower, following, is_newer_each_time, is_whole

pytestmark = pytest.mark.node

SYMBOLS = {"BTC": "BTC-USDT", "ETH": "ETH-USDT", "SOL": "SOL-USDT"}


class Market:
    """Trades and prices of three symbols; ``last`` is the seq of each topic."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.last: dict[str, int] = {}

    def say(self, stream: str, symbol: str, count: int = 1) -> None:
        """Publish so many messages."""
        writer = self._publisher.writer(Topic.md(stream, "sim", SYMBOLS[symbol]))
        for _ in range(count):
            body: Body = Trade(1.0, 1.0) if stream == "trades" else Price(1.0)
            seq = writer.publish(body, venue_ts_ns=None, recv_ts_ns=now_ns())
            self.last[f"{stream}.{symbol}"] = seq

    @contextmanager
    def running(self, burst: int = 5) -> Iterator[None]:
        """``burst`` trades of each symbol, and a price, every 5 ms."""
        loop = asyncio.get_running_loop()
        is_running = True

        def publish() -> None:
            if not is_running:
                return
            for symbol in SYMBOLS:
                self.say("trades", symbol, burst)
                self.say("price", symbol)
            loop.call_later(0.005, publish)

        publish()
        try:
            yield
        finally:
            is_running = False

    async def reaches(self, follower: Follower, *topics: str) -> None:
        """Wait until the client has the last message of each topic."""
        for topic in topics:
            await eventually(partial(self._has_last, follower, topic), 20, topic)

    def _has_last(self, follower: Follower, topic: str) -> bool:
        return follower.last(topic) == self.last[topic]


@pytest.fixture
def market(publisher: Publisher) -> Market:
    return Market(publisher)


def url(running: RunningServer) -> str:
    return f"{running.ws_url}/ws/v1/"


@pytest.mark.parametrize("wanted", ["trades.ETH", "trades.*", "*.*", "trades.eth-usdt"])
async def test_it_comes_back_and_recovers_what_it_missed(
    start_server: StartServer, market: Market, node: list[str], wanted: str
) -> None:
    running = await start_server()
    market.say("trades", "ETH", 3)
    async with following(node, url(running), wanted) as follower:
        await eventually(lambda: follower.acks, 20, "it has subscribed")
        market.say("trades", "ETH", 3)
        await market.reaches(follower, "trades.ETH")
        for cut in range(3):
            (client,) = running.server._clients
            if cut == 1:
                client.close(CloseCode.DRAINING, retry_after_ms=30)
            else:
                client.abort()
            await eventually(lambda: client not in running.server._clients, 20)  # noqa: B023
            market.say("trades", "ETH", 5)
            await market.reaches(follower, "trades.ETH")
        await follower.end()
    assert len(follower.seqs("trades.ETH")) == 18
    assert is_whole(follower.seqs("trades.ETH")), "none missing, none twice"
    for ack in follower.acks[1:]:
        assert {e["topic"]: e["recovered"] for e in ack["topics"] if "recovered" in e}[
            "trades.ETH"
        ] is True
    assert follower.states == ["open", *["waiting", "open"] * 3, "closed"]
    assert not follower.of("gap")


async def test_a_wildcard_that_has_brought_nothing_yet_is_recovered_too(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    """Its positions are in the acknowledgement, and need no message to be known."""
    running = await start_server()
    market.say("trades", "SOL", 2)
    async with following(node, url(running), "trades.*") as follower:
        await eventually(lambda: follower.acks, 20, "it has subscribed")
        (client,) = running.server._clients
        client.abort()
        await eventually(lambda: client not in running.server._clients, 20)
        market.say("trades", "SOL", 4)
        await market.reaches(follower, "trades.SOL")
    last = market.last["trades.SOL"]
    assert follower.seqs("trades.SOL") == list(range(last - 3, last + 1))


async def test_who_leaves_is_left_before_and_every_message_is_shown_once(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    """Three bridges after one another on one port, under load: never a moment without one."""
    running = await start_server("bridge.drain_s=4")
    topics = ["trades.ETH", "trades.BTC", "price.SOL"]
    with market.running():
        async with following(node, url(running), "trades.ETH", "*.BTC", "price.*") as follower:
            await eventually(lambda: all(follower.last(t) for t in topics), 20)
            for _ in range(3):
                old, running = (
                    running,
                    await start_server("bridge.drain_s=4", f"bridge.port={running.port}"),
                )
                await old.server.drain()
                await eventually(lambda: running.server._clients, 20, "it is here")  # noqa: B023
            await eventually(lambda: len(follower.acks) >= 8, 20)
            marks = {t: follower.last(t) for t in topics}
            await eventually(lambda: all(follower.last(t) > marks[t] for t in topics), 20)
            await follower.end()
    assert follower.states == ["open", "closed"], "never without a connection"
    statuses = [m["status"] for m in follower.of("connection")]
    assert statuses == ["connected", *["draining", "connected"] * 3], "it went first each time"
    for topic in topics:
        assert is_whole(follower.seqs(topic)) or (
            topic == "price.SOL" and is_newer_each_time(follower.seqs(topic))
        ), topic
        assert len(follower.seqs(topic)) > 100
    assert not follower.of("gap")


async def test_when_nobody_else_listens_it_stays_until_the_end_and_then_comes_back(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    running = await start_server("bridge.drain_s=0.6")
    market.say("trades", "ETH")
    async with following(node, url(running), "trades.*") as follower:
        await eventually(lambda: follower.acks, 20)
        await running.server.drain()
        await running.server.close()
        await eventually(lambda: follower.states == ["open", "waiting"], 20)
        market.say("trades", "ETH", 7)
        await start_server(f"bridge.port={running.port}")
        await market.reaches(follower, "trades.ETH")
        assert follower.states[-1] == "open"
    assert is_whole(follower.seqs("trades.ETH"))
    assert len(follower.seqs("trades.ETH")) == 7


async def test_what_cannot_be_recovered_is_told_as_a_gap(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    running = await start_server("bridge.history=10")
    market.say("trades", "ETH")
    async with following(node, url(running), "trades.*") as follower:
        await eventually(lambda: follower.acks, 20)
        seen = market.last["trades.ETH"]
        (client,) = running.server._clients
        client.abort()
        await eventually(lambda: client not in running.server._clients, 20)
        market.say("trades", "ETH", 50)
        await eventually(lambda: len(follower.acks) == 2, 20, "it is back")
        market.say("trades", "ETH", 2)
        await market.reaches(follower, "trades.ETH")
    (entry,) = [e for e in follower.acks[1]["topics"] if e["topic"] == "trades.ETH"]
    last = market.last["trades.ETH"]
    if entry["recovered"]:  # it was back before all of them were published
        assert is_whole(follower.seqs("trades.ETH"))
        return
    (gap,) = follower.of("gap")
    assert (gap["topic"], gap["from"], gap["to"]) == ("trades.ETH", seen + 1, entry["seq"])
    assert (gap["count"], gap["reason"]) == (entry["seq"] - seen, "reconnect")
    assert follower.seqs("trades.ETH") == list(range(entry["seq"] + 1, last + 1))


async def test_what_was_given_up_begins_anew(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    running = await start_server()
    market.say("trades", "ETH")
    async with following(node, url(running), "trades.ETH", "price.*") as follower:
        await eventually(lambda: len(follower.acks) == 2, 20)
        follower.wish(unsubscribe="trades.ETH")
        await eventually(lambda: len(follower.of("subscription")) == 3, 20)
        market.say("trades", "ETH", 9)
        follower.wish(subscribe="trades.ETH")
        await eventually(lambda: len(follower.acks) == 3, 20)
        market.say("trades", "ETH", 2)
        await market.reaches(follower, "trades.ETH")
        await follower.end()
    (entry,) = follower.acks[2]["topics"]
    last = market.last["trades.ETH"]
    assert follower.seqs("trades.ETH") == list(range(entry["seq"] + 1, last + 1))
    assert "recovered" not in entry
    assert not follower.of("gap"), "what nobody wanted is not missed"


async def test_a_server_that_begins_beyond_what_it_has_kept_is_taken_over_without_a_hole(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    """The next bridge keeps three trades, and more come while it is greeted: the old one goes on
    until the next one's beginning is reached."""
    running = await start_server("bridge.drain_s=4")
    with market.running():
        async with following(node, url(running), "trades.*") as follower:
            await eventually(lambda: len(follower.seqs("trades.BTC")) > 200, 20)
            for _ in range(3):
                port = f"bridge.port={running.port}"
                old = running
                running = await start_server("bridge.drain_s=4", "bridge.history=3", port)
                await old.server.drain()
            mark = follower.last("trades.BTC")
            await eventually(lambda: follower.last("trades.BTC") > mark + 200, 20)
            await follower.end()
    assert follower.states == ["open", "closed"]
    entries = [entry for ack in follower.acks for entry in ack["topics"]]
    assert [entry for entry in entries if entry.get("reason") == "too_many"], "as was meant"
    assert follower.of("gap") == []
    for symbol in SYMBOLS:
        assert is_whole(follower.seqs(f"trades.{symbol}")), symbol


@pytest.mark.parametrize("wanted", [["trades.*"], ["trades.BTC", "trades.ETH", "trades.SOL"]])
async def test_what_does_not_fit_into_one_message_is_said_in_several(
    start_server: StartServer, market: Market, node: list[str], wanted: list[str]
) -> None:
    """By wildcard and by name, after a cut and when a bridge leaves, under load."""
    small = ("bridge.max_message_bytes=2150", "bridge.drain_s=4")
    running = await start_server(*small)
    requests: list[int] = []
    with market.running():
        async with following(node, url(running), *wanted) as follower:
            await eventually(lambda: all(follower.last(f"trades.{s}") for s in SYMBOLS), 20)
            for _ in range(2):
                (client,) = running.server._clients
                client.abort()
                count = len(follower.states)
                await eventually(lambda: len(follower.states) == count + 2, 20)  # noqa: B023
                requests.append(running.server.requests_in)
                old, running = (
                    running,
                    await start_server(*small, f"bridge.port={running.port}"),
                )
                await old.server.drain()
            marks = {s: follower.last(f"trades.{s}") for s in SYMBOLS}
            await eventually(
                lambda: all(follower.last(f"trades.{s}") > marks[s] for s in SYMBOLS), 20
            )
            await follower.end()
    for symbol in SYMBOLS:
        assert is_whole(follower.seqs(f"trades.{symbol}")), symbol
    assert not follower.of("gap")
    assert not follower.of("error")
    assert follower.states == ["open", *["waiting", "open"] * 2, "closed"]
    assert len(follower.acks) >= 1 + 4 * 2, "each time in two requests at least"


async def test_a_server_that_limits_requests_is_asked_again(
    start_server: StartServer, market: Market, node: list[str]
) -> None:
    running = await start_server("bridge.limits.actions_burst=2", "bridge.limits.actions_per_s=20")
    async with following(node, url(running)) as follower:
        await eventually(lambda: follower.states == ["open"], 20)
        for number in range(8):
            follower.wish(subscribe="trades.ETH", options={"history": number})
        await eventually(lambda: len(follower.acks) == 8, 20)
        assert [one["code"] for one in follower.of("error")].count("rate_limited") > 0
        assert follower.states == ["open"]


async def test_a_program_shows_its_token_with_the_handshake(
    start_server: StartServer, market: Market, node: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no origin, so it is not asked: without a token it is refused, and says so."""
    monkeypatch.setenv("MDBUS_TEST_KEY", SECRET)
    running = await start_server(*JWT)
    market.say("trades", "ETH", 3)
    async with following(node, url(running), "trades.ETH") as refused:
        await eventually(lambda: {"failed": "unreachable"} in refused.said, 20, "it is told")
        await eventually(lambda: refused.states == ["waiting"], 20)
    monkeypatch.setenv("MDBUS_TOKEN", token("u-1"))
    async with following(node, url(running), "trades.ETH") as follower:
        await eventually(lambda: follower.acks, 20, "it has subscribed")
        (client,) = running.server._clients
        client.abort()
        await eventually(lambda: len(follower.acks) == 2, 20, "and again, with another one")
        await follower.end()
    assert follower.states == ["open", "waiting", "open", "closed"]


async def test_a_publisher_that_began_anew_meanwhile_is_a_reset(
    start_server: StartServer, bus_settings: Settings, node: list[str]
) -> None:
    """Cut off, and back at a bridge whose topics count anew: told, and no number is compared."""
    first = await start_server("bridge.drain_s=0")
    topic = Topic.md("trades", "sim", "ETH-USDT")
    publishers: list[Publisher] = []

    async def publisher(epoch: int) -> Publisher:
        one = Publisher(bus_settings.endpoints.publish, epoch=epoch)
        publishers.append(one)
        one.attach_loop()
        await eventually(lambda: one.stats().attached >= 1, 20)
        return one

    def say(one: Publisher, count: int) -> None:
        for _ in range(count):
            one.writer(topic).publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())

    try:
        now_ms = now_ns() // 1_000_000
        old = await publisher(now_ms)
        say(old, 50)
        async with following(node, url(first), "trades.*", "trades.SOL") as follower:
            await eventually(lambda: len(follower.acks) == 2, 20)
            say(old, 5)
            await eventually(lambda: len(follower.seqs("trades.ETH")) == 5, 20)
            (client,) = first.server._clients
            client.close(CloseCode.DRAINING, retry_after_ms=50)
            new = await publisher(now_ms + 1_000)
            say(new, 3)
            await eventually(lambda: len(follower.acks) == 4, 20)
            say(new, 4)
            await eventually(lambda: follower.last("trades.ETH") == 7, 20)
            await follower.end()
    finally:
        for one in publishers:
            one.close()
    resets = follower.of("reset")
    assert [(one["topic"], one["reason"]) for one in resets] == [("trades.ETH", "epoch")]
    before = follower.said.index(resets[0])
    after = [
        m["seq"] for m in follower.said[before:] if m.get("topic") == "trades.ETH" and "seq" in m
    ]
    assert after == list(range(after[0], 8))
    assert not follower.of("gap")
