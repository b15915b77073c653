"""The simulated Kraken over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from bus.testing import eventually
from tests.simulator.conftest import Serve, ask, receive


async def subscribe(client: ClientConnection, channel: str, **params: Any) -> Any:
    params = {"channel": channel, "symbol": ["BTC/USD"], **params}
    if channel == "instrument":
        del params["symbol"]
    return await ask(client, method="subscribe", params=params, req_id=1)


async def test_the_engines_state_comes_unasked_then_every_channel_speaks(
    kraken: Serve, loop_kind: str
) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        (status,) = await receive(client, 1)
        assert status["data"][0]["system"] == "online"
        for channel in ("instrument", "ticker", "book", "trade"):
            assert (await subscribe(client, channel))["success"]
            (first,) = await receive(client, 1)
            assert (first["channel"], first["type"]) == (channel, "snapshot")
        venue.run(3)
        seen: set[str] = set()
        while seen < {"ticker", "book", "trade"}:
            (message,) = await receive(client, 1)
            assert message["type"] == "update"
            seen.add(message["channel"])


async def test_without_a_snapshot_none_is_sent(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        venue.run(3)
        await subscribe(client, "trade", snapshot=False)
        pong = await ask(client, method="ping", req_id=5)
        assert (pong["method"], pong["req_id"]) == ("pong", 5)


async def test_a_heartbeat_fills_a_second_of_silence(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        venue.run(3)
        await subscribe(client, "instrument")
        await receive(client, 1)
        venue.run(3.1)
        assert await receive(client, 3) == [{"channel": "heartbeat"}] * 3


async def test_an_idle_client_is_closed_after_a_minute(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        venue.run(0.1)
        await ask(client, method="ping")
        venue.run(0.1)
        venue.run(59, step_s=1)
        assert client.close_code is None
        venue.run(2, step_s=1)
        await client.wait_closed()
        assert client.close_code == 1000


async def test_the_engine_changes_state_on_demand(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        await subscribe(client, "instrument")
        await receive(client, 1)
        await venue.fault("engine_status", system="maintenance")
        venue.run(0.02)
        status, instruments = await receive(client, 2)
        assert status["data"][0]["system"] == "maintenance"
        assert instruments["data"]["pairs"][0]["status"] == "maintenance"
        refused = await venue.get("/_sim/fault?kind=engine_status&system=odd")
        assert refused.status_code == 400
        await venue.get("/_sim/clear")
        venue.run(0.02)
        assert (await receive(client, 1))[0]["data"][0]["system"] == "online"


async def test_unsubscribing_stops_a_channel(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        await subscribe(client, "book", depth=25)
        await receive(client, 1)
        params = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
        assert (await ask(client, method="unsubscribe", params=params))["success"]
        venue.run(0.5)
        assert (await ask(client, method="ping"))["method"] == "pong"


@pytest.mark.parametrize("kind", ["garbage", "unknown_event", "big_frame"])
async def test_odd_messages(kraken: Serve, kind: str) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        await venue.fault(kind)
        text = await client.recv()
        if kind == "garbage":
            with pytest.raises(json.JSONDecodeError):
                json.loads(text)
        else:
            assert json.loads(text)["channel"] == "simulatedNovelty"
            assert kind != "big_frame" or len(text) == 5_000_000


async def test_silence_keeps_everything_back(kraken: Serve) -> None:
    async with kraken() as venue, venue.connect("/v2") as client:
        await receive(client, 1)
        await subscribe(client, "book")
        await receive(client, 1)
        await venue.fault("silence", seconds=60)
        venue.run(5)
        assert (await ask(client, method="ping"))["method"] == "pong"
        assert venue.server.faults.happened["silent_message"] > 0


async def test_wrong_paths_and_rest_are_refused(kraken: Serve) -> None:
    async with kraken() as venue:
        with pytest.raises(InvalidStatus):
            await venue.connect("/v1")
        assert (await venue.get("/0/public/Time")).status_code == 404
        await venue.fault("rest_429")
        assert (await venue.get("/0/public/Time")).status_code == 429
        await eventually(lambda: not venue.server.clients)
