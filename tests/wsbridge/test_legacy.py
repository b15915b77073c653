"""The samples of the legacy API run against the bridge, in a runtime with a browser's WebSocket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bus.client import Publisher
from bus.clock import now_ns
from bus.model import OrderBook, Price
from bus.model.topic import Topic
from tests.wsbridge.conftest import StartServer

SCRIPT = Path(__file__).with_name("legacy_samples.mjs")


@pytest.mark.node
async def test_the_legacy_samples_run(
    start_server: StartServer, publisher: Publisher, node: list[str]
) -> None:
    running = await start_server()
    loop = asyncio.get_running_loop()
    symbols = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    prices = [publisher.writer(Topic.md("price", "sim", symbol)) for symbol in symbols]
    book = publisher.writer(Topic.md("orderbook", "sim", "BTC-USDT"))
    is_running = True

    def publish() -> None:
        for writer in prices:
            writer.publish(Price(100.5, 1.0, 1.0, 5.0), venue_ts_ns=None, recv_ts_ns=now_ns())
        body = OrderBook(7, [(49990.0, 1.0)], [(50010.0, 1.0)])
        book.publish(body, venue_ts_ns=None, recv_ts_ns=now_ns())
        if is_running:
            loop.call_later(0.02, publish)

    publish()
    process = await asyncio.create_subprocess_exec(
        *node, str(SCRIPT), f"127.0.0.1:{running.port}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    is_running = False
    result = json.loads(out)
    assert process.returncode == 0, result
    assert result["replies"] == ["list", "pong", "subscription"]
    assert result["sources"] == ["sim"]
