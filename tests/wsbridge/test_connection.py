"""One connection: what a client can do wrong, and what it costs whom."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import weakref

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from bus.client import Publisher
from bus.clock import monotonic_ns, now_ns
from bus.model import OrderBook
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.connection import ClientConnection
from tests.wsbridge.clients import end_of, said, until
from tests.wsbridge.conftest import RawClient, StartServer


async def test_close_codes_of_what_a_client_does_wrong(
    start_server: StartServer, loop_kind: str
) -> None:
    running = await start_server()
    url = f"{running.ws_url}/ws/market-multi/"
    async with connect(url) as client:
        await client.send("x" * 65_536)
        assert (await until(client, "error"))["code"] == "bad_json"
        await client.send("x" * 65_537)
        assert await end_of(client) == (1009, "message_too_big")
    async with connect(url) as client:
        await client.send(b"\x00binary")
        assert await end_of(client) == (1003, "wrong_frame_kind")
    async with connect(url) as client:
        for _ in range(10):
            await client.send("nonsense")
        assert await end_of(client) == (4500, "bad_request")
    async with connect(f"{running.ws_url}/ws/market/NOPE/price") as client:
        assert (await said(client))["code"] == "symbol_unknown"
        last = await said(client)
        assert (last["status"], last["code"], last["reconnect"]) == ("closing", 4506, False)
        assert await end_of(client) == (4506, "unknown_stream")
    async with connect(f"{running.ws_url}/ws/market/BTC/price/") as client:
        await client.send('{"action":"unsubscribe"}')
        assert await end_of(client) == (1000, "bye")
    async with connect(url) as client:
        await client.send([b'{"action":', b'"ping"}'], text=True)
        assert (await until(client, "pong"))["type"] == "pong"
    await eventually(lambda: running.server.report()["connections"] == 0)


async def test_bad_utf8_closes_1007(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1") as client:
        await client.send(b"\xff\xfe", text=True)
        assert (await end_of(client))[0] == 1007


async def test_an_unknown_subprotocol_is_accepted_and_never_echoed(
    start_server: StartServer,
) -> None:
    running = await start_server()
    for offered in ("mdbus.v2.json", "mdbus.bearer.abc", "other"):
        async with connect(
            f"{running.ws_url}/ws/v1/", subprotocols=[Subprotocol(offered)]
        ) as client:
            assert client.subprotocol is None
            assert (await said(client))["profile"] == "compat"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_subprotocol_of_ours_is_agreed(start_server: StartServer, codec: str) -> None:
    running = await start_server()
    ours = f"mdbus.v1.{codec}"
    offered = [Subprotocol("other"), Subprotocol(ours), Subprotocol("mdbus.bearer.abc")]
    async with connect(f"{running.ws_url}/ws/v1/", subprotocols=offered) as client:
        assert client.subprotocol == ours
        hello = await said(client)
        assert (hello["profile"], hello["codec"], hello["heartbeat_ms"]) == ("full", codec, 15000)


async def test_compression_is_not_negotiated(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1/", compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


@pytest.mark.parametrize(
    "sent",
    [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n",
     b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
     b"GET /ws/v1/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
     b"GET /ws/v1/ HTTP/1.0\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"],
)  # fmt: skip
async def test_garbage_instead_of_http_ends_the_connection_and_nothing_else(
    start_server: StartServer, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    running = await start_server("bridge.close_timeout_s=0.1", "bridge.handshake_timeout_s=1")
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert b"Traceback" not in answer
    writer.close()
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"{running.http_url}/healthz")).status_code == 200
    assert "Traceback" not in capfd.readouterr().err


async def test_half_a_handshake_is_dropped_at_its_deadline(start_server: StartServer) -> None:
    running = await start_server("bridge.handshake_timeout_s=1")
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"GET /ws/v1/ HTTP/1.1\r\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await eventually(lambda: running.server.report()["connections"] == 0)


async def test_a_client_without_pongs_is_closed_4003(
    start_server: StartServer, raw_client: RawClient
) -> None:
    running = await start_server("bridge.ping_interval_s=1", "bridge.ping_timeout_s=1")
    reader, _ = await raw_client(running, "/ws/v1/")
    received = b""
    while b"\x0f\xa3" not in received:  # 4003 in a close frame
        data = await asyncio.wait_for(reader.read(4096), 10)
        assert data, received
        received += data
    assert b"\x89\x00" in received, "a ping came first"


async def test_a_client_with_pongs_stays(start_server: StartServer) -> None:
    running = await start_server("bridge.ping_interval_s=1", "bridge.ping_timeout_s=1")
    async with connect(f"{running.ws_url}/ws/v1/", ping_interval=None) as client:
        await said(client)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 2.5)
        assert running.server.client_count == 1


async def test_a_client_that_never_reads_is_closed_and_nobody_else_notices(
    start_server: StartServer, publisher: Publisher, raw_client: RawClient, loop_kind: str
) -> None:
    running = await start_server(
        "bridge.pressure_bytes=65536",
        "bridge.send_buffer_bytes=16384",
        "bridge.stuck_s=1",
    )
    symbol = "ETH" if loop_kind == "uvloop" else "SOL"  # each with an epoch of its own
    await raw_client(running, f"/ws/market/{symbol}/orderbook/")
    book = publisher.writer(Topic.md("orderbook", "sim", f"{symbol}-USDT"))
    levels = [(float(n), 1.0) for n in range(20)]
    server = running.server
    async with connect(f"{running.ws_url}/ws/market/{symbol}/orderbook/") as healthy:
        await said(healthy)
        seqs: list[int] = []
        peak = 0
        while server.slow_closed == 0:
            for _ in range(10):  # far less than the limit, so that who reads is never behind
                book.publish(OrderBook(1, levels, levels), venue_ts_ns=None, recv_ts_ns=now_ns())
            while len(seqs) < book.seq:
                message = await said(healthy)
                if message.get("snapshot"):
                    seqs = list(range(1, message["seq"]))
                seqs.append(message["seq"])
            peak = max(peak, *(c.buffered_bytes for c in server._clients))
        assert seqs[-1] == book.seq
        assert len(set(seqs)) == len(seqs)
        assert peak <= 65_536 + 65_536
        await eventually(lambda: server.report()["connections"] == 1)
        assert server.report()["slow_closed"] == 1


async def test_a_client_that_floods_requests_and_reads_nothing_is_bounded(
    start_server: StartServer, raw_client: RawClient
) -> None:
    running = await start_server(
        "bridge.send_buffer_bytes=16384",
        "bridge.limits.actions_per_s=1e6",
        "bridge.limits.actions_burst=1000000",
    )
    _, writer = await raw_client(running, "/ws/market-multi/")
    body = b'{"action":"list"}'
    frame = bytes((0x81, 0x80 | len(body))) + b"\0\0\0\0" + body
    sent = 0
    while sent < 20_000_000:
        writer.write(frame * 2000)
        sent += len(frame) * 2000
        try:
            await asyncio.wait_for(writer.drain(), 1.0)
        except TimeoutError:
            break  # the server has stopped reading
    (connection,) = running.server._clients
    assert connection.buffered_bytes < 300_000
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("payload", "code"),
    [("garbage", "bad_json"), ("[]", "bad_json"), ('{"action":"x"}', "unknown_action"),
     ('{"action":"subscribe"}', "bad_request"), ('{"action":"replay"}', "unsupported"),
     ('{"action":"unsubscribe","symbols":["BTC"]}', "not_subscribed")],
)  # fmt: skip
async def test_a_bad_message_gets_an_error_and_the_connection_stays(
    start_server: StartServer, payload: str, code: str
) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        await said(client)
        await client.send(payload)
        refusal = await said(client)
        assert (refusal["type"], refusal["code"]) == ("error", code)
        assert "Traceback" not in refusal["message"]
        await client.send('{"action":"ping"}')
        assert (await said(client))["type"] == "pong"


async def test_requests_are_answered_in_their_order(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/market-multi/") as client:
        await said(client)
        for number in range(40):
            request = {"action": "subscribe", "symbols": ["ETH"], "id": number}
            ping = {"action": "ping", "id": number}
            await client.send(json.dumps(request if number % 3 else ping))
        ids: list[int] = []
        while len(ids) < 40:
            message = await said(client)
            if "id" in message:
                ids.append(message["id"])
        assert ids == list(range(40))


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame with a mask of zeros; ``payload`` is shorter than 126 bytes."""
    return bytes((fin << 7 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(masked(9, b"hi"), b"\x8a\x02hi"), (masked(1, b'{"action":"ping"}'), b'"pong"'),
     (masked(8, b"\x03\xe8"), b"\x88\x02\x03\xe8"), (b"\xff" * 20, b"protocol_error")],
)  # fmt: skip
async def test_frames_sent_with_the_handshake_are_answered_after_it(
    start_server: StartServer, sent: bytes, answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    running = await start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(
        b"GET /ws/v1/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + sent
    )
    received = b""
    while answer not in received:
        data = await asyncio.wait_for(reader.read(4096), 10)
        assert data, received
        received += data
    assert received.startswith(b"HTTP/1.1 101 ")
    writer.close()
    assert "Traceback" not in capfd.readouterr().err


async def test_requests_sent_together_get_the_first_answer(start_server: StartServer) -> None:
    running = await start_server()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("flood", [masked(0, fin=False), masked(10), masked(1, b'{"action":1}')])
async def test_a_flood_of_tiny_frames_delays_nobody_for_long(
    start_server: StartServer, raw_client: RawClient, flood: bytes, loop_kind: str
) -> None:
    running = await start_server()
    _, writer = await raw_client(running, "/ws/v1/")
    if flood[0] == 0:
        writer.write(masked(1, b"{", fin=False))
    writer.write(flood * 500_000)  # seconds of work for the protocol library
    async with connect(f"{running.ws_url}/ws/v1/") as other:
        await said(other)
        for _ in range(5):
            asked = monotonic_ns()
            await other.send('{"action":"ping"}')
            await until(other, "pong")
            assert monotonic_ns() - asked < 1_500_000_000  # it was several seconds
    for connection in running.server._clients:
        assert len(connection._intake._waiting) <= 300_000
        assert len(connection._message) <= 65_536


async def test_pongs_do_not_put_off_the_end_of_a_closed_connection(
    start_server: StartServer, raw_client: RawClient
) -> None:
    running = await start_server("bridge.close_timeout_s=0.3")
    reader, writer = await raw_client(running, "/ws/market/NOPE/price")
    received = b""
    while b"\x11\x9a" not in received:  # 4506 in a close frame, which is never answered
        received += await asyncio.wait_for(reader.read(4096), 10)
    began = monotonic_ns()

    def is_over() -> bool:
        if not writer.is_closing():
            writer.write(masked(10))
        return running.server.report()["connections"] == 0

    await eventually(is_over, 5, "the connection was cut off")
    assert monotonic_ns() - began < 4_000_000_000


async def test_who_hangs_up_without_reading_is_cut_off_and_stops_nobody_elses_deadline(
    start_server: StartServer, raw_client: RawClient, publisher: Publisher, loop_kind: str
) -> None:
    """Its protocol is closed, its socket is not: there is nothing left to ping."""
    running = await start_server(
        "bridge.send_buffer_bytes=16384", "bridge.ping_interval_s=1", "bridge.stuck_s=60"
    )
    _, writer = await raw_client(running, "/ws/market/SOL/orderbook/")
    (connection,) = running.server._clients
    await eventually(lambda: running.server.bridge.subscriptions.channel_count == 1)
    books = publisher.writer(Topic.md("orderbook", "sim", "SOL-USDT"))
    levels = [(float(n), 1.0) for n in range(20)]

    def is_behind() -> bool:
        for _ in range(20):
            books.publish(OrderBook(1, levels, levels), venue_ts_ns=None, recv_ts_ns=now_ns())
        return connection in running.server.behind

    await eventually(is_behind, 20, "the client's socket is full")
    writer.write_eof()
    other, other_writer = await asyncio.open_connection("127.0.0.1", running.port)
    other_writer.write(UPGRADE_TO_MULTI)
    pinged = b""
    while b"\x89\x00" not in pinged:
        pinged += await asyncio.wait_for(other.read(4096), 10)
    other_writer.close()
    await eventually(lambda: running.server.report()["connections"] == 0, 10, "all are gone")
    assert running.server.report()["internal_errors"] == 0


UPGRADE_TO_MULTI = (
    b"GET /ws/market-multi/ HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def test_a_fault_at_one_connections_deadline_costs_only_that_connection(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, loop_kind: str
) -> None:
    running = await start_server("bridge.handshake_timeout_s=1")
    original = ClientConnection.overdue
    faulty: list[ClientConnection] = []

    def overdue(self: ClientConnection) -> None:
        if not faulty or self in faulty:
            faulty[:] = [self]
            raise RuntimeError("a fault of ours")
        original(self)

    monkeypatch.setattr(ClientConnection, "overdue", overdue)
    dialled = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(5)]
    for reader, writer in dialled:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    await eventually(lambda: running.server.report()["connections"] == 0)
    assert running.server.report()["internal_errors"] == 1


async def test_room_for_handshakes_is_made_of_those_that_said_something_else(
    start_server: StartServer, loop_kind: str
) -> None:
    """They have been answered; to answer again would be a fault in a newcomer's accept."""
    running = await start_server(
        "bridge.limits.max_handshakes=2",
        "bridge.close_timeout_s=60",
        "bridge.handshake_timeout_s=60",
    )
    writers: list[asyncio.StreamWriter] = []

    async def dial(word: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(word)
        writers.append(writer)
        return reader

    for _ in range(2):
        assert await asyncio.wait_for((await dial(b"\r\n\r\n")).read(), 10) == b""

    async def is_room() -> bool:
        await dial(b"")
        return running.server.handshakes.dropped >= 2

    await eventually(is_room, 10, "the oldest make room")
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        assert (await said(client))["status"] == "connected"
    assert running.server.report()["internal_errors"] == 0
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("leaves", ["close", "abort", "broken"])
async def test_a_connection_that_is_over_leaves_nothing_to_the_garbage_collector(
    start_server: StartServer, loop_kind: str, leaves: str
) -> None:
    running = await start_server()
    gc.collect()
    gc.disable()
    try:
        offered = [Subprotocol("mdbus.v1.json")]
        async with connect(f"{running.ws_url}/ws/v1/", subprotocols=offered) as client:
            await said(client)
            await client.send('{"action":"subscribe","topics":["price.BTC","nonsense"],"id":1}')
            assert (await said(client))["type"] == "subscription"
            (connection,) = running.server.clients
            left = [
                weakref.ref(one)
                for one in (connection._protocol, connection.session, connection.visit)
            ]
            del connection
            if leaves == "abort":
                client.transport.abort()
            elif leaves == "broken":
                client.transport.write(b"\x83\x80\0\0\0\0")
                await client.wait_closed()
        await eventually(lambda: all(one() is None for one in left))
    finally:
        gc.enable()
