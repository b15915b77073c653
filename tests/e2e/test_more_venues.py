"""Coinbase and Kraken, switched on by nothing but configuration, through the whole bus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from websockets.asyncio.client import connect

from bus.client import Subscriber, Update
from bus.config.venues import streams_of
from bus.model import Depth, Status, Trade
from tests.e2e.running_bus import RunningBus
from tests.e2e.test_whole_path import next_of

CONFIG = """
[feeds.coinbase]
venue = "coinbase"
symbols = ["BTC-USD"]
[feeds.kraken]
venue = "kraken"
symbols = ["ETH-USD"]
"""
SERVED = [("coinbase", "BTC-USD"), ("kraken", "ETH-USD")]


@pytest.fixture(scope="module")
def bus(make_bus: Callable[..., RunningBus]) -> Iterator[RunningBus]:
    running = make_bus(CONFIG)
    running.up()
    yield running
    running.down()


@pytest.mark.parametrize(("feed", "symbol"), SERVED)
def test_every_stream_of_the_venue_reaches_a_consumer(
    bus: RunningBus, feed: str, symbol: str
) -> None:
    wanted = {*streams_of(feed), "depth"}
    whole = False
    with Subscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
        for stream in wanted:
            subscriber.subscribe(f"md/{stream}/sim/{symbol}/")
        seen: set[str] = set()
        for _ in range(5_000):
            event = subscriber.recv(20)
            if isinstance(event, Update):
                seen.add(event.tick.topic.stream)
                if isinstance(event.tick.body, Depth):
                    whole = whole or event.tick.body.is_snapshot
            if seen == wanted:
                break
    assert seen == wanted
    assert whole


@pytest.mark.parametrize(("feed", "symbol"), SERVED)
def test_its_status_is_live(bus: RunningBus, feed: str, symbol: str) -> None:
    with Subscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
        subscriber.subscribe(f"sys/status/{feed}/{symbol}/")
        for _ in range(20):
            event = subscriber.recv(20)
            if (
                isinstance(event, Update)
                and isinstance(event.tick.body, Status)
                and event.tick.body.state == "live"
            ):
                return
    pytest.fail("never live")


@pytest.mark.parametrize(("feed", "symbol"), SERVED)
async def test_a_browser_sees_it(bus: RunningBus, feed: str, symbol: str) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market/{symbol}/price/") as client:
        message = await next_of(client, "price")
        assert message["data"]["price"] > 0
        assert message["source"] == "sim"


def test_the_bus_is_healthy_and_simulates_what_is_enabled(bus: RunningBus) -> None:
    done = bus.cli("check")
    assert done.returncode == 0, done.stdout + done.stderr
    names = [row["name"] for row in bus.status()["processes"]]
    assert {"feed.coinbase", "feed.kraken"} <= set(names)
    topics = json.loads(bus.cli("topics", "--json").stdout)["topics"]
    labels = {
        (row["topic"] if isinstance(row, dict) else row).split("/")[2]
        for row in topics
        if (row["topic"] if isinstance(row, dict) else row).startswith("md/")
    }
    assert labels == {"sim"}


@pytest.mark.parametrize(
    ("feed", "symbol", "other"),
    [("coinbase", "BTC-USD", "SOL-USD"), ("kraken", "ETH-USD", "XRP-USD")],
)
def test_symbols_change_by_command_and_by_reload_and_the_others_lose_no_tick(
    bus: RunningBus, feed: str, symbol: str, other: str
) -> None:
    pid = bus.process(f"feed.{feed}")["pid"]
    topic = f"md/trades/sim/{symbol}/"
    text = bus.config.read_text()
    with Subscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
        subscriber.subscribe(topic)
        subscriber.subscribe(f"sys/status/{feed}/")
        watch = _Watch(subscriber, topic)
        watch.until(lambda: len(watch.ids) > 3)
        added = bus.cli("feed", "add", feed, other)
        assert added.returncode == 0, added.stdout + added.stderr
        assert other in added.stdout
        watch.until(lambda: watch.states.get(other) == "live")
        removed = bus.cli("feed", "remove", feed, other)
        assert removed.returncode == 0, removed.stdout + removed.stderr
        watch.until(lambda: watch.states.get(other) == "closed")
        try:
            both = f'symbols = ["{symbol}", "{other}"]'
            own = f'[feeds.{feed}]\nvenue = "{feed}"\n'
            bus.config.write_text(text.replace(f'{own}symbols = ["{symbol}"]', f"{own}{both}"))
            assert bus.config.read_text() != text
            done = bus.cli("reload")
            assert done.returncode == 0, done.stdout + done.stderr
            watch.until(lambda: watch.states.get(other) == "live")
        finally:
            bus.config.write_text(text)
        done = bus.cli("reload")
        assert done.returncode == 0, done.stdout + done.stderr
        watch.until(lambda: watch.states.get(other) == "closed")
        seen = len(watch.ids)
        watch.until(lambda: len(watch.ids) > seen + 3)
    assert watch.ids == list(range(watch.ids[0], watch.ids[0] + len(watch.ids)))
    assert watch.states[symbol] == "live"
    assert bus.process(f"feed.{feed}")["pid"] == pid, "the process was not replaced for it"


class _Watch:
    """Trade ids of one topic, and the states of a feed's symbols."""

    def __init__(self, subscriber: Subscriber, topic: str) -> None:
        self._subscriber = subscriber
        self._topic = topic
        self.ids: list[int] = []
        self.states: dict[str, str] = {}

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(20_000):
            if reached():
                return
            event = self._subscriber.recv(20)
            if not isinstance(event, Update):
                continue
            body = event.tick.body
            if isinstance(body, Trade):
                assert isinstance(body.trade_id, int)
                self.ids.append(body.trade_id)
            elif isinstance(body, Status):
                self.states[event.tick.topic.name.split("/")[3]] = body.state
        pytest.fail(f"never; {self.states}")
