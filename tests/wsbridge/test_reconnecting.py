"""The client that is served beside the API: it comes back by itself and misses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bus.client import Publisher
from bus.clock import now_ns
from bus.model import Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.messages import CloseCode
from tests.wsbridge.conftest import ROOT, StartServer

SCRIPT = Path(__file__).with_name("reconnecting.mjs")
CLIENT = ROOT / "bus" / "wsbridge" / "page" / "mdbus.js"


@pytest.mark.node
async def test_it_comes_back_and_recovers_what_it_missed(
    start_server: StartServer, publisher: Publisher, node: list[str]
) -> None:
    running = await start_server()
    writer = publisher.writer(Topic.md("trades", "sim", "ETH-USDT"))
    process = await asyncio.create_subprocess_exec(
        *node, str(SCRIPT), str(CLIENT), f"{running.ws_url}/ws/v1/",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    said: list[dict[str, Any]] = []
    stdout = process.stdout

    async def read() -> None:
        while line := await stdout.readline():
            said.append(json.loads(line))

    reading = asyncio.create_task(read())
    last = 0

    def publish(count: int) -> None:
        nonlocal last
        for _ in range(count):
            last = writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())

    def seen() -> list[int]:
        return [one["seq"] for one in said if "seq" in one]

    await eventually(lambda: any("recovered" in one for one in said), 20, "it has subscribed")
    publish(3)
    await eventually(lambda: last in seen(), 20)
    for cut in range(3):
        (client,) = running.server._clients
        if cut == 1:
            client.close(CloseCode.DRAINING, retry_after_ms=30)
        else:
            client.abort()
        await eventually(lambda: not running.server._clients, 20)
        publish(5)
        await eventually(lambda: last in seen(), 20, "it has come back and caught up")
    process.stdin.close()
    await asyncio.wait_for(process.wait(), 20)
    await reading
    seqs = seen()
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "none missing, none twice"
    assert [one["recovered"] for one in said if "recovered" in one][1:] == [[True]] * 3
    states = [one["state"] for one in said if "state" in one]
    assert states == ["open", *["waiting", "open"] * 3, "closed"]
