"""A rolling restart of the bridges under load, seen by the JavaScript client that is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bus.testing import eventually
from tests.e2e.running_bus import RunningBus
from tests.wsbridge.browser import Browser, chromium
from tests.wsbridge.follower import Follower, following, is_newer_each_time, is_whole

NAMED, WILD, STATE = "trades.BTC", "trades.ETH", "price.SOL"
TOPICS = (NAMED, WILD, STATE)
WANTED = (NAMED, "*.ETH", "price.*")
ROUNDS = 2
PAGE_CLIENT = """import("/ws/mdbus.js").then(({ Mdbus }) => {
  window.states = []; window.seen = {}; window.gaps = []; window.connected = 0; window.closing = 0;
  const bus = new Mdbus(`ws://${location.host}/ws/v1/`);
  bus.on("state", (state) => states.push(state));
  bus.on("gap", (gap) => gaps.push(gap));
  bus.on("connection", ({ status }) => {
    if (status === "connected") connected += 1;
    if (status === "closing") closing += 1;
  });
  bus.on("message", ({ topic, seq, snapshot, data }) => {
    if (data && !snapshot) (seen[topic] ??= []).push(seq);
  });
  bus.subscribe(%s);
})"""


@pytest.fixture(scope="module")
def bus(make_bus: Callable[..., RunningBus]) -> Iterator[RunningBus]:
    running = make_bus()
    running.up("simulator.activity=5", "bridge.drain_s=15")
    yield running
    running.down()


def check_nothing_is_missed(seqs_of: dict[str, list[int]], gaps: list[dict[str, Any]]) -> None:
    """Each message once and in order; of a state topic the newest may stand for those before."""
    assert gaps == []
    for topic in TOPICS:
        seqs = seqs_of[topic]
        assert is_whole(seqs) or (topic == STATE and is_newer_each_time(seqs)), (topic, seqs)


async def roll(bus: RunningBus) -> None:
    """Replace every bridge, and wait until those replaced have ended."""
    rows = (await asyncio.to_thread(bus.status))["processes"]
    old = [row["pid"] for row in rows if row["kind"] == "bridge"]
    done = await asyncio.to_thread(bus.cli, "restart", "bridge")
    assert done.returncode == 0, done.stdout + done.stderr
    await eventually(lambda: not any(map(psutil.pid_exists, old)), 30, "the old bridges have ended")


@asynccontextmanager
async def node_client(bus: RunningBus, node: list[str]) -> AsyncIterator[Follower]:
    async with following(node, f"ws://127.0.0.1:{bus.port}/ws/v1/", *WANTED) as follower:
        await eventually(lambda: all(len(follower.seqs(t)) > 10 for t in TOPICS), 30, "it trades")
        yield follower


@pytest.mark.node
async def test_a_program_sees_every_message_once_and_in_order(
    bus: RunningBus, node: list[str]
) -> None:
    async with node_client(bus, node) as follower:
        for _ in range(ROUNDS):
            await roll(bus)
        marks = {topic: follower.last(topic) for topic in TOPICS}
        await eventually(lambda: all(follower.last(t) > marks[t] + 10 for t in TOPICS), 30)
        await follower.end()
    statuses = [message["status"] for message in follower.of("connection")]
    assert statuses.count("connected") >= 1 + ROUNDS
    assert follower.states == ["open", "closed"]
    check_nothing_is_missed({t: follower.seqs(t) for t in TOPICS}, follower.of("gap"))
    assert all(len(follower.seqs(topic)) > 50 for topic in TOPICS)
    assert "closing" not in statuses, "it has left each bridge before it was closed"


@pytest.mark.browser
async def test_a_page_sees_every_message_once_and_in_order(bus: RunningBus, tmp_path: Path) -> None:
    async with chromium(tmp_path) as browser:
        await _follow_a_page(bus, browser)


async def _follow_a_page(bus: RunningBus, browser: Browser) -> None:
    await browser.do("Page.navigate", url=f"http://127.0.0.1:{bus.port}/")
    await browser.shows("document.readyState === 'complete'")
    await browser.evaluate(PAGE_CLIENT % json.dumps(WANTED))
    many = " && ".join(f"seen['{topic}'].length > {{}}" for topic in TOPICS)
    await browser.shows(many.format(10, 10, 10), 30)
    for _ in range(ROUNDS):
        await roll(bus)
    lengths = [await browser.evaluate(f"seen['{topic}'].length") for topic in TOPICS]
    await browser.shows(many.format(*(length + 10 for length in lengths)), 30)
    seen = json.loads(await browser.evaluate("JSON.stringify(seen)"))
    gaps = json.loads(await browser.evaluate("JSON.stringify(gaps)"))
    check_nothing_is_missed(seen, gaps)
    assert await browser.evaluate("states.join()") == "open"
    assert await browser.evaluate("connected") >= 1 + ROUNDS
    assert browser.complaints == []
    assert await browser.evaluate("closing") == 0
