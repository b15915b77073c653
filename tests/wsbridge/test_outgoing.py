"""The writing half over real sockets: compression, one write a batch, slow clients, fairness."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection as ClientOfLibrary
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from bus.client import Publisher
from bus.clock import monotonic_ns, now_ns
from bus.model import OrderBook, Price, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge import handout
from bus.wsbridge.connection import ClientConnection
from bus.wsbridge.direct_write import write_to_all
from tests.wsbridge.clients import said, until
from tests.wsbridge.conftest import RawClient, StartServer

FULL = [Subprotocol("mdbus.v1.json")]


def is_ticks(blob: bytes) -> bool:
    """Whether there is market data in it, and not only a status."""
    return b'"type":"trade"' in blob or b'"type":"price"' in blob


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def publish(publisher: Publisher, stream: str, symbol: str, body: Any) -> int:
    writer = publisher.writer(Topic.md(stream, "sim", symbol))
    return writer.publish(body, venue_ts_ns=None, recv_ts_ns=now_ns())


async def test_long_messages_are_compressed_for_whoever_agreed(
    start_server: StartServer, publisher: Publisher, loop_kind: str
) -> None:
    running = await start_server("bridge.compression=on")
    levels = [(50_000.0 - n, 1.0) for n in range(20)]
    url = f"{running.ws_url}/ws/market/BTC/orderbook/"
    async with connect(url, compression="deflate") as packed, connect(url, compression=None) as raw:
        assert packed.response is not None
        agreed = packed.response.headers["Sec-WebSocket-Extensions"]
        assert "server_no_context_takeover" in agreed
        for client in (packed, raw):
            await said(client)
        await eventually(
            lambda: running.server.bridge.subscriptions.channel_count == 2, what="both joined"
        )
        publish(publisher, "orderbook", "BTC-USDT", OrderBook(1, levels, levels))
        one, two = await until(packed, "orderbook"), await until(raw, "orderbook")
        while one["seq"] != two["seq"]:
            one = await until(packed, "orderbook") if one["seq"] < two["seq"] else one
            two = await until(raw, "orderbook") if two["seq"] < one["seq"] else two
        assert one["data"] == two["data"]
    async with connect(url, compression="deflate") as packed:
        await packed.send(json.dumps({"action": "ping", "ts": "x" * 20_000}))
        assert (await until(packed, "pong"))["ts"] == "x" * 20_000
        await packed.send(json.dumps({"action": "ping", "ts": "x" * 100_000}))
        await eventually(lambda: packed.close_code is not None)
        assert packed.close_code == 1009, "the limit is that of what was inflated"


async def test_compression_is_off_on_loopback_by_default(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1/", compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_a_client_is_written_to_once_a_batch_whatever_it_holds(
    start_server: StartServer, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start_server()
    writes: list[int] = []
    original = ClientConnection.write

    def counted(self: ClientConnection, blob: bytes) -> None:
        if is_ticks(blob):
            writes.append(len(blob))
        original(self, blob)

    def counted_direct(fds: Sequence[int], blob: bytes) -> list[tuple[int, int]]:
        writes.extend([len(blob)] * len(fds) * is_ticks(blob))
        return write_to_all(fds, blob)

    url = f"{running.ws_url}/ws/v1/"
    async with connect(url, subprotocols=FULL, max_queue=None) as client:
        await client.send(json.dumps({"action": "subscribe", "topics": ["*.BTC", "*.ETH"]}))
        await until(client, "snapshot_end")
        batches = running.server.upstream.batches
        monkeypatch.setattr(ClientConnection, "write", counted)
        monkeypatch.setattr(handout, "write_to_all", counted_direct)
        expected = 0
        for n in range(200):
            publish(publisher, "trades", "BTC-USDT", Trade(1.0, float(n)))
            publish(publisher, "trades", "ETH-USDT", Trade(1.0, float(n)))
            publish(publisher, "price", "BTC-USDT", Price(float(n)))
            expected += 2
        trades = 0
        while trades < expected:
            trades += (await said(client))["type"] == "trade"
        assert 0 < len(writes) <= running.server.upstream.batches - batches


async def test_what_is_asked_together_is_answered_together(
    start_server: StartServer,
    raw_client: RawClient,
    monkeypatch: pytest.MonkeyPatch,
    loop_kind: str,
) -> None:
    running = await start_server()
    reader, writer = await raw_client(running, "/ws/v1/")
    assert b"connected" in await asyncio.wait_for(reader.read(4096), 10)
    blobs: list[bytes] = []
    original = ClientConnection.write

    def counted(self: ClientConnection, blob: bytes) -> None:
        blobs.append(blob)
        original(self, blob)

    monkeypatch.setattr(ClientConnection, "write", counted)
    request = b'{"action":"ping"}'
    writer.write((bytes((0x81, 0x80 | len(request))) + bytes(4) + request) * 20)
    received = b""
    while received.count(b"pong") < 20:
        received += await asyncio.wait_for(reader.read(4096), 10)
    assert [blob.count(b"pong") for blob in blobs] == [20]


async def test_ticks_pass_by_to_the_socket_and_its_number_is_given_back(
    start_server: StartServer, publisher: Publisher, loop_kind: str
) -> None:
    running = await start_server()
    server = running.server
    url = f"{running.ws_url}/ws/v1/"
    clients = [await connect(url, subprotocols=FULL, max_queue=None) for _ in range(5)]
    for client in clients:
        await client.send(json.dumps({"action": "subscribe", "topics": ["trades.BTC"]}))
        await until(client, "snapshot_end")
    idle = open_files()
    counts = [0] * len(clients)
    for n in range(50):
        last = publish(publisher, "trades", "BTC-USDT", Trade(1.0, float(n)))
        for number, client in enumerate(clients):
            counts[number] += len((await until(client, "trade")).get("topic", ""))
    assert len(set(counts)) == 1
    assert last >= 50
    out = server.bridge.fanout.out
    out.count_bytes()
    assert out.direct_bytes == sum(client.direct_bytes for client in server.clients) > 0
    assert open_files() == idle + len(clients), "one more for each, once it was written to"
    clients[0].transport.abort()
    for client in clients[1:]:
        await client.close()
    await eventually(lambda: server.connection_count == 0)
    left = idle - 2 * len(clients)  # both ends of every connection
    await eventually(lambda: open_files() == left, what="every number is given back")


async def test_a_client_that_stops_reading_conflates_and_catches_up(
    start_server: StartServer, publisher: Publisher, raw_client: RawClient, loop_kind: str
) -> None:
    running = await start_server(
        "bridge.send_buffer_bytes=16384", "bridge.pressure_bytes=16384", "bridge.linger_s=60"
    )
    url = "/ws/market/SOL/orderbook/?events=all"
    reader, _ = await raw_client(running, url)
    levels = [(float(n), 1.0) for n in range(20)]
    await eventually(lambda: running.server.bridge.subscriptions.channel_count == 1)
    (connection,) = running.server._clients
    last = 0

    def is_pressed() -> bool:
        nonlocal last
        for _ in range(20):
            last = publish(publisher, "orderbook", "SOL-USDT", OrderBook(1, levels, levels))
        return connection.is_pressed

    await eventually(is_pressed, 20, "the client is found to be behind")
    for _ in range(2_000):
        last = publish(publisher, "orderbook", "SOL-USDT", OrderBook(1, levels, levels))
    line = next(iter(running.server.bridge.market.lines.values()))
    await eventually(lambda: line.seq == last, 20)
    assert connection.queued_bytes == 0
    assert connection.buffered_bytes < 16_384 + 256 * 2_500
    received = b""
    while b'"resumed"' not in received:
        data = await asyncio.wait_for(reader.read(65_536), 10)
        assert data
        received += data
    assert b'"conflating"' in received
    assert f'"seq":{last},'.encode() in received, "the last value always comes"
    assert running.server.slow_closed == 0


async def _end_of_answer(client: ClientOfLibrary) -> dict[str, Any]:
    while "snapshot_end" not in (text := str(await asyncio.wait_for(client.recv(), 20))):
        pass
    end: dict[str, Any] = json.loads(text)
    return end


async def test_many_who_ask_for_much_delay_nobody(
    start_server: StartServer, publisher: Publisher
) -> None:
    running = await start_server()
    for n in range(1_000):
        publish(publisher, "trades", "BTC-USDT", Trade(1.0, float(n)))
    asking = [
        await connect(f"{running.ws_url}/ws/v1/", subprotocols=FULL, max_queue=None)
        for _ in range(60)
    ]
    async with connect(f"{running.ws_url}/ws/v1/") as other:
        await said(other)
        request = json.dumps({"action": "subscribe", "topics": ["trades.BTC"], "history": 1000})
        await asking[0].send(request)
        await until(asking[0], "snapshot_end")
        running.server.report()
        for client in asking[1:]:
            await client.send(request)
        worst_ns = 0
        for _ in range(20):
            asked_ns = monotonic_ns()
            await other.send('{"action":"ping"}')
            await until(other, "pong")
            worst_ns = max(worst_ns, monotonic_ns() - asked_ns)
        lag_ms = running.server.report()["loop_lag_ms"]
        ends = [await _end_of_answer(client) for client in asking[1:]]
    assert all(end["sent"] == 1_000 for end in ends)
    assert isinstance(lag_ms, float)
    assert lag_ms < 1_000, "the loop was never kept for the whole of it"
    assert worst_ns < 3_000_000_000
    for client in asking:
        client.transport.abort()
