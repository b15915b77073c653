"""Venue to client: one command, then what each kind of user sees."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bus.testing import eventually
from tests.e2e.running_bus import RunningBus

TIMEOUT_S = 20.0


async def next_of(ws: ClientConnection, kind: str, **wanted: object) -> dict[str, Any]:
    """The next message of a type, skipping others."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            message: dict[str, Any] = json.loads(await ws.recv())
            if message["type"] == kind and all(message.get(k) == v for k, v in wanted.items()):
                return message


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_price_stream_by_its_legacy_url(bus: RunningBus, slash: str) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market/BTC/price{slash}") as ws:
        hello = json.loads(await ws.recv())
        assert hello["type"] == "connection"
        assert (hello["status"], hello["symbol"], hello["stream_type"]) == (
            "connected",
            "BTC",
            "price",
        )
        message = await next_of(ws, "price")
        assert message["data"]["symbol"] == "BTC"
        assert message["data"]["price"] > 0
        assert message["source"] == message["data"]["source"] == "sim"
        later = await next_of(ws, "price")
        assert later["seq"] == message["seq"] + 1


async def test_order_books_have_twenty_sorted_levels_a_side(bus: RunningBus) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market/ETH/orderbook/") as ws:
        for _ in range(20):
            data = (await next_of(ws, "orderbook"))["data"]
            bids, asks = data["bids"], data["asks"]
            assert len(bids) == len(asks) == 20
            assert bids == sorted(bids, key=lambda level: -level[0])
            assert asks == sorted(asks, key=lambda level: level[0])
            assert bids[0][0] < asks[0][0]
            assert all(size > 0 for _, size in bids + asks)


@pytest.mark.parametrize(
    ("path", "kind", "field"),
    [
        ("market/BTC/trades/", "trade", "quantity"),
        ("market/SOL/ticker/", "ticker", "high"),
        ("market/BTC/quote/", "quote", "bid"),
        ("market/AAPL/price/", "price", "price"),
        ("market/AAPL/trades/", "trade", "price"),
        ("market/AAPL/ticker/", "ticker", "price"),
        ("news/general/", "news", "headline"),
    ],
)
async def test_every_stream_delivers(bus: RunningBus, path: str, kind: str, field: str) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/{path}") as ws:
        message = await next_of(ws, kind)
        assert message["data"][field]
        assert message["data"]["source"] == "sim"


async def test_the_four_actions_of_the_multi_endpoint(bus: RunningBus) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market-multi/") as ws:
        assert json.loads(await ws.recv())["type"] == "connection"
        await ws.send(
            json.dumps(
                {"action": "subscribe", "symbols": ["BTC", "ETH", "SOL"], "stream_type": "price"}
            )
        )
        ack = json.loads(await ws.recv())
        assert (ack["type"], ack["action"]) == ("subscription", "subscribed")
        assert ack["symbols"] == ["BTC", "ETH", "SOL"]
        seen: set[str] = set()
        while seen != {"BTC", "ETH", "SOL"}:
            seen.add((await next_of(ws, "price"))["data"]["symbol"])
        await ws.send(json.dumps({"action": "unsubscribe", "symbols": ["ETH"]}))
        ack = await next_of(ws, "subscription", action="unsubscribed")
        assert ack["symbols"] == ["ETH"]
        await ws.send(json.dumps({"action": "list"}))
        assert (await next_of(ws, "list"))["subscribed"] == ["BTC", "SOL"]
        await ws.send(json.dumps({"action": "ping"}))
        assert (await next_of(ws, "pong"))["timestamp"]
        after = [json.loads(await ws.recv()) for _ in range(50)]
        assert "ETH" not in {m["data"]["symbol"] for m in after if m["type"] == "price"}


async def test_subscribers_on_both_workers_see_the_same_sequence(bus: RunningBus) -> None:
    """Workers share the port; a message has the same seq whichever of them carries it."""
    url = f"ws://127.0.0.1:{bus.port}/ws/market/BTC/trades/"
    async with asyncio.timeout(TIMEOUT_S):  # a worker that says nothing fails this, not hangs it
        # No bound on the queue: a client that has stopped reading cannot see the close answered.
        clients = [await connect(url, max_queue=None) for _ in range(12)]
        workers = {json.loads(await ws.recv())["connection_id"].split("-")[0] for ws in clients}
    assert len(workers) == 2, "twelve connections all went to one worker"
    by_seq: dict[int, list[Any]] = {}
    for ws in clients:
        for _ in range(30):
            message = await next_of(ws, "trade")
            by_seq.setdefault(message["seq"], []).append(message["data"]["trade_id"])
    assert max(len(ids) for ids in by_seq.values()) > 1
    assert all(len(set(ids)) == 1 for ids in by_seq.values())
    for ws in clients:
        await ws.close()


NODE_SAMPLE = """
const url = process.argv[2];
const seen = {};
const ws = new WebSocket(url + '/ws/market/BTC/price');
ws.onopen = () => { console.log('Connected!'); };
ws.onmessage = (event) => {
  const data = JSON.parse(event.data);
  if (data.type === 'price') {
    console.log('BTC Price:', data.data.price);
    console.log('Source:', data.source);
    ws.close();
    const multi = new WebSocket(url + '/ws/market-multi/');
    multi.onopen = () => {
      multi.send(JSON.stringify({
        action: 'subscribe',
        symbols: ['BTC', 'ETH', 'SOL'],
        stream_type: 'price'
      }));
      multi.send(JSON.stringify({ action: 'list' }));
      multi.send(JSON.stringify({
        action: 'unsubscribe',
        symbols: ['ETH']
      }));
    };
    multi.onmessage = (event) => {
      const message = JSON.parse(event.data);
      seen[message.type] = (seen[message.type] || 0) + 1;
      if (message.type === 'subscription' && message.action === 'unsubscribed') {
        console.log(JSON.stringify(seen));
        multi.close();
      }
    };
  }
};
"""


@pytest.mark.node
def test_nodes_own_websocket_runs_the_legacy_samples(
    bus: RunningBus, node: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "legacy.js"
    script.write_text(NODE_SAMPLE)
    done = subprocess.run(
        [*node, str(script), f"ws://127.0.0.1:{bus.port}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Connected!"
    assert lines[1].startswith("BTC Price: ")
    assert lines[2] == "Source: sim"
    seen = json.loads(lines[3])
    assert seen["connection"] == seen["list"] == 1
    assert seen["subscription"] == 2


def test_status_is_the_documented_contract(bus: RunningBus) -> None:
    status = bus.status()
    assert status["state"] == "running"
    assert set(status["endpoints"]) >= {"publish", "subscribe", "http"}
    assert status["endpoints"]["http"] == f"http://127.0.0.1:{bus.port}"
    names = [row["name"] for row in status["processes"]]
    assert names == [
        "simulator",
        "broker",
        "feed.binance",
        "feed.finnhub",
        "bridge.1",
        "bridge.2",
    ]
    for row in status["processes"]:
        assert set(row) >= {
            "name",
            "kind",
            "pid",
            "state",
            "restarts",
            "uptime_s",
            "cpu_percent",
            "rss_bytes",
            "heartbeat_age_ms",
            "last_exit",
        }
        assert row["state"] == "ready"
        assert row["restarts"] == 0


def test_check_says_healthy_by_its_exit_code(bus: RunningBus) -> None:
    done = bus.cli("check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_topics_get_and_tail_show_the_data(bus: RunningBus) -> None:
    topics = json.loads(bus.cli("topics", "--json").stdout)["topics"]
    names = {row["topic"] if isinstance(row, dict) else row for row in topics}
    streams = Counter(name.split("/")[1] for name in names)
    assert set(streams) >= {"price", "quote", "ticker", "orderbook", "depth", "trades", "status"}
    got = bus.cli("get", "md/price/sim/BTC-USDT/", "--json")
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["body"]["price"] > 0
    tail = bus.cli("tail", "md/trades/sim/", "--count", "5")
    assert tail.returncode == 0, tail.stderr
    assert len(tail.stdout.splitlines()) == 5
    assert "BTC-USDT" in bus.cli("tail", "md/trades/sim/BTC-USDT/", "--count", "1").stdout


def test_nothing_simulated_carries_a_real_venues_name(bus: RunningBus) -> None:
    topics = json.loads(bus.cli("topics", "--json").stdout)["topics"]
    names = [row["topic"] if isinstance(row, dict) else row for row in topics]
    assert {name.split("/")[2] for name in names if name.startswith("md/")} == {"sim"}


async def test_the_supervisor_sees_messages_flow(bus: RunningBus) -> None:
    def messages_in() -> int:
        return int(bus.process("broker").get("counters", {}).get("messages_in", 0))

    before = await asyncio.to_thread(messages_in)

    async def has_grown() -> bool:
        return await asyncio.to_thread(messages_in) > before

    assert await eventually(has_grown)
