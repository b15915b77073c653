"""The whole bridge over real sockets: real broker, real publisher, a client of another make."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from bus.client import Publisher
from bus.clock import now_ns
from bus.config import Settings, load
from bus.errors import ConfigError
from bus.model import OrderBook, Price, Status, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.server import check_bind
from tests.wsbridge.conftest import ROOT, RunningServer, StartServer

BTC = Topic.md("price", "sim", "BTC-USDT")
BTC_TRADES = Topic.md("trades", "sim", "BTC-USDT")


async def said(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 10))
    return message


async def until(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a type, skipping others."""
    while True:
        message = await said(client)
        if message["type"] == kind:
            return message


async def end_of(client: ClientConnection) -> tuple[int, str]:
    """The close code and reason, once everything else was read."""
    while True:
        try:
            await asyncio.wait_for(client.recv(), 10)
        except ConnectionClosed as closed:
            end = closed.rcvd
            break
    assert end is not None, "closed without a close frame"
    return end.code, end.reason


def publish_price(publisher: Publisher, price: float) -> int:
    return publisher.writer(BTC).publish(Price(price), venue_ts_ns=None, recv_ts_ns=now_ns())


RawClient = Callable[
    [RunningServer, str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]


@pytest.fixture
async def raw_client() -> AsyncIterator[RawClient]:
    """WebSocket clients that do nothing by themselves: they read when told, and never answer."""
    writers: list[asyncio.StreamWriter] = []

    async def start(
        running: RunningServer, path: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", running.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**12)
        writers.append(writer)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        return reader, writer

    yield start
    for writer in writers:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_legacy_url_works_with_and_without_a_slash(
    start_server: StartServer, publisher: Publisher, slash: str, loop_kind: str
) -> None:
    running = await start_server()
    publish_price(publisher, 1.0)
    async with connect(f"{running.ws_url}/ws/market/BTC/price{slash}") as client:
        hello = await said(client)
        assert (hello["symbol"], hello["stream_type"]) == ("BTC", "price")
        first = await said(client)
        assert (first["type"], first["source"], first["snapshot"]) == ("price", "sim", True)
        publish_price(publisher, 2.0)
        second = await said(client)
        assert second["data"]["price"] == 2.0
        assert second["seq"] == first["seq"] + 1
    for path in ("/ws/market-multi", "/ws/v1", "/ws/news/crypto"):
        async with connect(running.ws_url + path + slash) as client:
            assert (await said(client))["status"] == "connected"


async def test_a_client_that_subscribes_while_the_bus_runs_misses_and_repeats_nothing(
    start_server: StartServer, publisher: Publisher, loop_kind: str
) -> None:
    running = await start_server()
    writer = publisher.writer(BTC_TRADES)
    loop = asyncio.get_running_loop()
    is_running = True

    def run() -> None:
        for _ in range(10):
            writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())
        if is_running:
            loop.call_later(0.002, run)

    run()
    try:
        async with connect(f"{running.ws_url}/ws/market-multi/", max_queue=None) as client:
            await said(client)
            for _ in range(10):
                await client.send('{"action":"subscribe","topics":["trades.BTC"],"history":5}')
                ack = await until(client, "subscription")
                entry = ack["topics"][0]
                seqs = [(await said(client))["seq"] for _ in range(60)]
                assert seqs == list(range(seqs[0], seqs[0] + 60))
                assert seqs[entry["history"]] == entry["seq"] + 1
                await client.send('{"action":"unsubscribe","topics":["trades.BTC"],"id":"u"}')
                while (message := await said(client))["type"] != "subscription":
                    assert message["seq"] == seqs[-1] + 1
                    seqs.append(message["seq"])
                await client.send('{"action":"ping"}')
                assert (await said(client))["type"] == "pong", "nothing after unsubscribed"
    finally:
        is_running = False


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


@pytest.mark.parametrize(
    ("payload", "code"),
    [("garbage", "bad_json"), ("[]", "bad_json"), ('{"action":"x"}', "unknown_action"),
     ('{"action":"subscribe"}', "bad_request"), ('{"action":"auth"}', "unsupported"),
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


async def test_close_codes_of_what_a_client_does_wrong(
    start_server: StartServer, loop_kind: str
) -> None:
    running = await start_server()
    url = f"{running.ws_url}/ws/market-multi/"
    async with connect(url) as client:
        await client.send("x" * 65_536)
        assert (await until(client, "error"))["code"] == "bad_json"
        await client.send("x" * 65_537)
        assert (await end_of(client))[0] == 1009
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


async def test_an_offered_subprotocol_is_accepted_and_not_claimed(
    start_server: StartServer,
) -> None:
    running = await start_server()
    for offered in ("mdbus.v1.json", "mdbus.v1.msgpack", "mdbus.bearer.abc", "other"):
        async with connect(
            f"{running.ws_url}/ws/v1/", subprotocols=[Subprotocol(offered)]
        ) as client:
            assert client.subprotocol is None
            assert (await said(client))["profile"] == "compat"


async def test_compression_is_not_negotiated(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1/", compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("https://desk.example", True),
        ("http://127.0.0.1:1", False),
        ("https://desk.example.evil.test", False),
        ("https://evil.test", False),
        ("http://127.0.0.1:{port}.evil.test", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
async def test_only_our_own_pages_and_allowed_origins_may_connect(
    start_server: StartServer, origin: str | None, allowed: bool
) -> None:
    running = await start_server('bridge.origins=["https://desk.example"]')
    sent = None if origin is None else Origin(origin.format(port=running.port))
    if allowed:
        async with connect(f"{running.ws_url}/ws/v1/", origin=sent) as client:
            assert (await said(client))["type"] == "connection"
        return
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{running.ws_url}/ws/v1/", origin=sent)
    assert refused.value.response.status_code == 403


async def test_http_beside_the_websocket(start_server: StartServer) -> None:
    running = await start_server()
    async with httpx.AsyncClient(base_url=running.http_url) as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        for name in ("app.js", "style.css", "icon.svg"):
            found = await http.get(f"/page/{name}")
            assert found.status_code == 200
            again = await http.get(
                f"/page/{name}", headers={"If-None-Match": found.headers["ETag"]}
            )
            assert again.status_code == 304
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/readyz")).json()["ready"] is True
        head = await http.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(page.content)
        for path in ("/nope", "/ws/", "/ws/nope/", "/page/", "/page/../server.py", "/etc/passwd",
                     "/page/%2e%2e/server.py"):  # fmt: skip
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/ws/v1/")).status_code == 426
        assert (await http.request("DELETE", "/")).status_code == 405


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
        "bridge.max_buffered_bytes=65536",
        "bridge.send_buffer_bytes=16384",
        "bridge.close_timeout_s=0.5",
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
            for _ in range(50):
                book.publish(OrderBook(1, levels, levels), venue_ts_ns=None, recv_ts_ns=now_ns())
            while len(seqs) < book.seq:
                message = await said(healthy)
                if message.get("snapshot"):
                    seqs = list(range(message["seq"]))
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
    running = await start_server("bridge.send_buffer_bytes=16384")
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


async def test_a_drain_tells_every_client_and_closes_4001(
    start_server: StartServer, loop_kind: str
) -> None:
    running = await start_server("bridge.drain_s=0.2")
    clients = [await connect(f"{running.ws_url}/ws/v1/") for _ in range(30)]
    for client in clients:
        await said(client)
    drain = asyncio.create_task(running.server.drain())
    for client in clients:
        notice = await said(client)
        assert notice["status"] == "draining"
        assert 0 <= notice["retry_after_ms"] <= 200
        assert await end_of(client) == (4001, "draining")
    await asyncio.wait_for(drain, 5)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await connect(f"{running.ws_url}/ws/v1/")


async def test_a_full_server_answers_503(start_server: StartServer) -> None:
    running = await start_server("bridge.max_connections=1")
    async with connect(f"{running.ws_url}/ws/v1/"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{running.ws_url}/ws/v1/")
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "5"


async def test_the_state_of_a_feed_reaches_clients(
    start_server: StartServer, publisher: Publisher
) -> None:
    running = await start_server()
    status = publisher.writer(Topic.status("binance"))
    status.publish(Status("down", "exited", now_ns()), venue_ts_ns=None, recv_ts_ns=now_ns())
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        await said(client)

        async def is_down() -> bool:
            await client.send('{"action":"status","feeds":["binance"]}')
            return bool((await until(client, "status"))["state"] == "down")

        await eventually(is_down)


def test_listening_off_loopback_needs_to_be_asked_for() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "desk.example"):
        with pytest.raises(ConfigError, match=r"bridge\.host.*no authentication"):
            check_bind(load(None, [f"bridge.host={host}"]).bridge)
        check_bind(load(None, [f"bridge.host={host}", "bridge.auth=none"]).bridge)
    for host in ("127.0.0.1", "::1", "localhost"):
        check_bind(load(None, [f"bridge.host={host}"]).bridge)


def run_bridge(path: Path, *lines: str) -> subprocess.Popen[str]:
    config = path / "bridge.toml"
    config.write_text(f'run_dir = "{path}"\n[bridge]\n' + "\n".join(lines) + "\n")
    return subprocess.Popen(
        [sys.executable, "-m", "bus.wsbridge", "--config", str(config), "--name", "bridge.1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("line", "named"),
    [("port = {port}", "bridge.port"), ('host = "0.0.0.0"', "bridge.host")],
)
def test_a_bridge_that_cannot_listen_says_why_in_one_line(
    run_dir: Path, line: str, named: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = run_bridge(run_dir, line.format(port=port))
        _, err = process.communicate(timeout=20)
    assert process.returncode == 78
    assert named in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    if "port" in named:
        assert str(port) in err


def test_sigterm_ends_the_process_cleanly(broker_dir: Path, run_dir: Path) -> None:
    process = run_bridge(run_dir, "port = 0")
    assert process.stderr is not None
    while "ready" not in (line := process.stderr.readline()):
        assert line, "the bridge ended before it was ready"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_settings_of_the_bridge_are_checked(bus_settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"bridge\.prot"):
        load(None, ["bridge.prot=1"])
    assert bus_settings.bridge.max_message_bytes == 65_536
