"""Points 20 and 22 to 26: sizes, drain, codecs, shared compressed frames, schema, numbers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from bus.clock import now_ns
from bus.model import OrderBook, Price, Trade
from bus.testing import eventually
from tests.conformance.conftest import DEADLINE_S, ROOT, Feed, Join, StartBridge
from tests.wsbridge.schema import check_message, faults


@pytest.mark.parametrize("compressed", [False, True])
async def test_20_a_message_too_big_closes_1009_also_when_it_is_small_on_the_wire(
    compressed: bool, start_bridge: StartBridge
) -> None:
    bridge = await start_bridge('compression = "on"')
    mode = "deflate" if compressed else None
    size = 100_000 if compressed else 65_537
    async with connect(f"{bridge.ws_url}/ws/v1/", compression=mode) as ws:
        if compressed:
            assert ws.response is not None
            assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        await ws.send("x" * size)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(ws.recv(), DEADLINE_S)
        assert ws.close_code == 1009


async def test_22_no_trade_is_lost_across_a_rolling_restart(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    old = await start_bridge("drain_s = 0.5")
    new = await start_bridge()
    loop = asyncio.get_running_loop()
    is_running = True
    last = 0

    def publish() -> None:
        nonlocal last
        last = feed.say("trades", "SOL-USDT", Trade(1.0, 1.0))
        if is_running:
            loop.call_later(0.01, publish)

    publish()
    clients = [await join(old) for _ in range(10)]
    seen: list[list[int]] = []
    epochs: list[str] = []
    for client in clients:
        await client.say(action="subscribe", topics=["trades.SOL"], history=1)
        first = await client.until("trade", snapshot=True)
        epochs.append(first["epoch"])
        seen.append([first["seq"]])
    half, half_writer = await asyncio.open_connection("127.0.0.1", old.port)
    old.process.send_signal(signal.SIGTERM)
    for client, seqs in zip(clients, seen, strict=True):
        notice = None
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await client.next()
                if message["type"] == "trade":
                    seqs.append(message["seq"])
                elif message.get("status") == "draining":
                    notice = message
        assert notice is not None
        assert 0 <= notice["retry_after_ms"] <= 500
        assert client.ws.close_code == 4001
    assert await asyncio.wait_for(half.read(), DEADLINE_S) == b""
    half_writer.close()
    for epoch, seqs in zip(epochs, seen, strict=True):
        again = await join(new)
        since = {"trades.SOL": {"epoch": epoch, "seq": seqs[-1]}}
        await again.say(action="subscribe", topics=["trades.SOL"], since=since)
        assert (await again.until("subscription"))["topics"][0]["recovered"] is True
        goal = len(seqs) + 20
        while len(seqs) < goal:
            seqs.append((await again.until("trade"))["seq"])
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    is_running = False


async def test_22_a_handshake_that_has_begun_comes_to_its_end(start_bridge: StartBridge) -> None:
    bridge = await start_bridge("drain_s = 0.5")
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(b"GET /ws/v1/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
    await writer.drain()
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{bridge.http_url}/readyz")).status_code == 200
        bridge.process.send_signal(signal.SIGTERM)

        async def is_closed() -> bool:
            try:
                return (await http.get(f"{bridge.http_url}/readyz")).status_code == 503
            except httpx.TransportError:
                return True

        await eventually(is_closed)
    writer.write(
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    received = await asyncio.wait_for(reader.read(), DEADLINE_S)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert b'"draining"' in received
    writer.close()
    bridge.process.wait(15)


async def test_23_msgpack_equals_json_field_by_field(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    bridge = await start_bridge()
    clients = [await join(bridge, codec=codec) for codec in ("json", "msgpack")]
    hellos = [await client.until("connection") for client in clients]
    for hello in hellos:
        assert hello.pop("codec")
        del hello["connection_id"], hello["timestamp"], hello["feeds"]
    assert hellos[0] == hellos[1]
    for client in clients:
        topics = ["price.BTC", "trades.BTC", "orderbook.BTC"]
        await client.say(action="subscribe", id=1, topics=topics)
        await client.until("snapshot_end", id=1)
    feed.say("price", "BTC-USDT", Price(0.1 + 0.2, None, -1e-8, 2.0**53 - 1))
    feed.say("trades", "BTC-USDT", Trade(1.5, 0.25, None, "id"))
    last = feed.say("orderbook", "BTC-USDT", OrderBook(None, [(1.0, 2.0)], []))
    got: list[list[dict[str, Any]]] = [[], []]
    for client, messages in zip(clients, got, strict=True):
        while not messages or messages[-1]["seq"] != last or messages[-1]["type"] != "orderbook":
            message = await client.next()
            if message["type"] in ("price", "trade", "orderbook"):
                messages.append(message)
    assert got[0] == got[1]
    assert got[0][0]["data"]["price"] == 0.1 + 0.2


async def test_24_one_compressed_frame_is_right_for_three_independent_clients(
    start_bridge: StartBridge, feed: Feed
) -> None:
    bridge = await start_bridge('compression = "on"')
    url = f"{bridge.ws_url}/ws/market/SOL/orderbook/"
    levels = [(50_000.0 - n, 1.0) for n in range(20)]
    makes = [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(server_max_window_bits=12),
        ClientPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=9),
    ]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(url, compression=None, extensions=[make]))
            for make in makes
        ]
        for ws in clients:
            hello = json.loads(await asyncio.wait_for(ws.recv(), DEADLINE_S))
            assert hello["type"] == "connection"
        done: list[set[int]] = [set(), set(), set()]
        seqs = [feed.say("orderbook", "SOL-USDT", OrderBook(n, levels, levels)) for n in range(50)]
        for ws, found in zip(clients, done, strict=True):
            while seqs[-1] not in found:
                message = json.loads(await asyncio.wait_for(ws.recv(), DEADLINE_S))
                check_message(message)
                assert len(message["data"]["bids"]) == 20
                found.add(message["seq"])


async def test_25_what_is_served_as_schema_is_what_the_messages_are_held_against(
    start_bridge: StartBridge,
) -> None:
    bridge = await start_bridge()
    async with httpx.AsyncClient(base_url=bridge.http_url) as http:
        schema = (await http.get("/ws/schema.json")).json()
        asyncapi = (await http.get("/ws/asyncapi.json")).json()
        types = (await http.get("/ws/mdbus.d.ts")).text
        client = await http.get("/ws/mdbus.js")
    assert asyncapi["asyncapi"] == "3.0.0"
    assert set(asyncapi["components"]["schemas"]) == set(schema["$defs"]) - {
        "ServerMessage", "ClientRequest",
    }  # fmt: skip
    assert "export interface Connection" in types
    assert client.headers["Content-Type"].startswith("text/javascript")
    text = (ROOT / "docs" / "websocket.md").read_text()
    examples = [json.loads(one) for one in re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)]
    assert len(examples) > 10
    for example in examples:
        if "type" in example:
            check_message(example)
        else:
            kinds = {"$ref": "#/$defs/ClientRequest"}
            assert faults(example, kinds, "request") == []


@pytest.mark.parametrize("numbers", ["float", "string"])
async def test_26_numbers_survive(
    numbers: str, start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    client = await join(await start_bridge(), f"/ws/v1/?numbers={numbers}")
    await client.say(action="subscribe", symbols=["ETH"])
    await client.until("snapshot_end")
    for number, text in (
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-8, "0.00000001"),
        (2.0**53 - 1, "9007199254740991"),
    ):
        seq = feed.say("price", "ETH-USDT", Price(number, None))
        data = (await client.until("price", seq=seq))["data"]
        assert data["price"] == (text if numbers == "string" else number)
        assert data["change"] is None
        assert data["recv_us"] <= now_ns() // 1000
