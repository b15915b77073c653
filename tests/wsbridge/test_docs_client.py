"""The Python client in docs/websocket.md, as it stands there, against bridges that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.client import Publisher
from bus.testing import eventually
from tests.wsbridge.conftest import ROOT, RunningServer, StartServer
from tests.wsbridge.test_reconnecting import Market

(PROGRAM,) = re.findall(
    r"^```python\n(# client: follow\.py\n.*?)^```$",
    (ROOT / "docs" / "websocket.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
DRAIN = "bridge.drain_s=4"


class Running:
    """The program, and the ``seq`` of each message it printed, by topic."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seqs: dict[str, list[int]] = {}
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Until its end; a line that it was killed in the middle of counts for nothing."""
        assert self.process.stdout is not None
        while (line := await self.process.stdout.readline()).endswith(b"\n"):
            topic, seq, _ = line.decode().split(" ", 2)
            self.seqs.setdefault(topic, []).append(int(seq))

    def last(self, topic: str) -> int:
        return self.seqs.get(topic, [0])[-1]


@contextlib.asynccontextmanager
async def running(program: Path, server: RunningServer, *topics: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), f"{server.ws_url}/ws/v1/", *topics,
        stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    one = Running(process)
    try:
        yield one
        assert process.returncode is None, "it ends by itself for no reason that there is here"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await one.reading


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "follow.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


async def test_it_prints_each_message_once_over_bridges_that_are_replaced(
    start_server: StartServer, publisher: Publisher, program: Path
) -> None:
    server, market = await start_server(DRAIN), Market(publisher)
    with market.running():
        async with running(program, server, "trades.BTC", "price.ETH") as client:
            await eventually(lambda: client.last("trades.BTC") and client.last("price.ETH"), 20)
            for _ in range(2):
                old, server = server, await start_server(DRAIN, f"bridge.port={server.port}")
                await old.server.drain()
                await eventually(lambda: server.server._clients, 20, "it is here")  # noqa: B023
                await eventually(lambda: not old.server._clients, 20, "and there no more")  # noqa: B023
            mark = market.last["trades.BTC"]
            await eventually(lambda: client.last("trades.BTC") > mark, 20)
            trades, prices = client.seqs["trades.BTC"], client.seqs["price.ETH"]
    assert trades == list(range(trades[0], trades[-1] + 1))
    assert prices == sorted(set(prices))


async def test_it_comes_back_for_what_it_missed_when_there_was_no_bridge(
    start_server: StartServer, publisher: Publisher, program: Path
) -> None:
    server, market = await start_server(), Market(publisher)
    async with running(program, server, "trades.SOL") as client:

        def heard() -> int:
            market.say("trades", "SOL")
            return client.last("trades.SOL")

        await eventually(heard, 20)
        await eventually(lambda: client.last("trades.SOL") == market.last["trades.SOL"], 20)
        await server.server.close()
        market.say("trades", "SOL", 4)
        server = await start_server(f"bridge.port={server.port}")
        market.say("trades", "SOL")
        await eventually(lambda: client.last("trades.SOL") == market.last["trades.SOL"], 20)
        seqs = client.seqs["trades.SOL"]
    assert seqs == list(range(seqs[0], market.last["trades.SOL"] + 1))
    assert len(seqs) > 5
