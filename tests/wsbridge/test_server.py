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
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bus.client import Publisher
from bus.clock import now_ns
from bus.config import Settings, load
from bus.errors import ConfigError
from bus.model import Price, Status, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.clients import end_of, said, until
from tests.wsbridge.conftest import ROOT, StartServer

BTC = Topic.md("price", "sim", "BTC-USDT")
BTC_TRADES = Topic.md("trades", "sim", "BTC-USDT")


def publish_price(publisher: Publisher, price: float) -> int:
    return publisher.writer(BTC).publish(Price(price), venue_ts_ns=None, recv_ts_ns=now_ns())


@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_legacy_url_works_with_and_without_a_slash(
    start_server: StartServer, publisher: Publisher, slash: str, loop_kind: str
) -> None:
    running = await start_server()
    publish_price(publisher, 1.0)
    async with connect(f"{running.ws_url}/ws/market/BTC/price{slash}") as client:
        hello = await said(client)
        assert (hello["symbol"], hello["stream_type"]) == ("BTC", "price")
        # The broker may still have been asked before it had this publisher's first price.
        while (first := await said(client))["data"]["price"] != 1.0:
            assert first["snapshot"] is True
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
    running = await start_server("bridge.limits.actions_burst=100000")
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
            epoch = ""
            while epoch != epoch_text(publisher.epoch):  # not another test's publisher's any more
                await client.send('{"action":"unsubscribe","all":true}')
                await until(client, "subscription")
                await client.send('{"action":"subscribe","topics":["trades.BTC"],"id":"s"}')
                epoch = (await until(client, "subscription"))["topics"][0].get("epoch", "")
            await client.send('{"action":"unsubscribe","all":true}')
            await until(client, "subscription")
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


@pytest.mark.parametrize("is_known_before", [True, False])
async def test_a_drain_is_brief_when_nobody_comes_in_our_place(
    start_server: StartServer, is_known_before: bool
) -> None:
    running = await start_server("bridge.drain_s=300")
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        await said(client)
        is_down = is_known_before
        drain = asyncio.create_task(running.server.drain(lambda: is_down))
        notice = await said(client)
        assert notice["status"] == "draining"
        assert (notice["reconnect_within_ms"] <= 1_100) == is_known_before
        is_down = True
        assert await end_of(client) == (4001, "draining")
        await asyncio.wait_for(drain, 20)


UPGRADE = (
    b"GET /ws/v1/ HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_who_was_accepted_before_a_drain_is_let_in(start_server: StartServer) -> None:
    """The port let the client in: it is told to come back, not turned away at the door."""
    running = await start_server("bridge.drain_s=3.0")
    port = int(running.ws_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
    await eventually(lambda: running.server.report()["connections"] == 2)
    drain = asyncio.create_task(running.server.drain())
    await eventually(lambda: running.server.is_draining)
    writer.write(UPGRADE)
    assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    with contextlib.suppress(ConnectionError):
        assert await idle_reader.read() == b"", "one that says nothing is not waited for"
    rest = await reader.read(65_536)
    while chunk := await reader.read(65_536):
        rest += chunk
    assert b'"code":4001' in rest
    for each in (writer, idle_writer):
        each.close()
    await asyncio.wait_for(drain, 10)


async def test_a_rolling_restart_loses_no_trade_of_a_client_that_recovers(
    start_server: StartServer, publisher: Publisher
) -> None:
    old = await start_server("bridge.drain_s=0.1")
    new = await start_server()
    writer = publisher.writer(Topic.md("trades", "sim", "SOL-USDT"))
    loop = asyncio.get_running_loop()
    is_running = True

    def publish() -> None:
        writer.publish(Trade(1.0, 1.0), venue_ts_ns=None, recv_ts_ns=now_ns())
        if is_running:
            loop.call_later(0.002, publish)

    publish()
    seqs: list[int] = []
    request: dict[str, Any] = {"action": "subscribe", "topics": ["trades.SOL"], "history": 1}
    async with connect(f"{old.ws_url}/ws/v1/") as client:
        await client.send(json.dumps(request))
        first = await until(client, "trade")
        seqs.append(first["seq"])
        drain = asyncio.create_task(old.server.drain())
        while (message := await said(client)).get("status") != "closing":
            if message["type"] == "trade":
                seqs.append(message["seq"])
        await drain
    del request["history"]
    request["since"] = {"trades.SOL": {"epoch": first["epoch"], "seq": seqs[-1]}}
    async with connect(f"{new.ws_url}/ws/v1/") as client:
        await client.send(json.dumps(request))
        ack = await until(client, "subscription")
        assert ack["topics"][0]["recovered"] is True
        seqs += [(await until(client, "trade"))["seq"] for _ in range(50)]
    is_running = False
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


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


async def test_new_symbols_are_served_without_a_restart(
    start_server: StartServer, publisher: Publisher, tmp_path: Path, loop_kind: str
) -> None:
    running = await start_server()
    path = tmp_path / "mdbus.toml"
    path.write_text(
        '[feeds.binance]\nsymbols = ["XRP-USDT"]\n[aliases]\nXRP = "XRP-USDT@binance"\n'
    )
    publisher.writer(Topic.md("price", "sim", "XRP-USDT")).publish(
        Price(0.5), venue_ts_ns=None, recv_ts_ns=now_ns()
    )
    async with connect(running.ws_url + "/ws/market-multi/") as ws:
        await ws.recv()
        subscribe = json.dumps({"action": "subscribe", "symbols": ["XRP"]})
        await ws.send(subscribe)
        assert json.loads(await ws.recv())["rejected"][0]["code"] == "symbol_unknown"
        assert await running.server.take_settings({"config": str(path)}) == {"symbols": 4}
        await ws.send(subscribe)
        assert json.loads(await ws.recv())["symbols"] == ["XRP"]
        assert json.loads(await ws.recv())["data"]["price"] == 0.5


@pytest.mark.parametrize("config", [None, "", 7, "/nowhere/mdbus.toml"])
async def test_settings_that_cannot_be_read_change_nothing(
    start_server: StartServer, config: object
) -> None:
    running = await start_server()
    before = running.server.bridge.directory.symbols
    with pytest.raises(ConfigError):
        await running.server.take_settings({"config": config})
    assert running.server.bridge.directory.symbols == before
