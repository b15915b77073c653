"""The admin port: for operators of this machine, and for nobody's page."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from bus.config import load
from bus.errors import ConfigError
from bus.wsbridge.admin.port import AdminPort, port_of
from tests.wsbridge.access.tokens import JWT, token
from tests.wsbridge.clients import end_of, said
from tests.wsbridge.conftest import RunningServer, StartServer
from tests.wsbridge.test_server import run_bridge

StartAdmin = Callable[..., Awaitable[str]]


@pytest.fixture
async def start_admin(start_server: StartServer) -> AsyncIterator[StartAdmin]:
    """Start an admin port for a bridge; the URL."""
    ports: list[AdminPort] = []

    async def start(
        running: RunningServer, *overrides: str, drains: list[int] | None = None
    ) -> str:
        settings = load(None, list(overrides)).bridge.admin
        noted = [] if drains is None else drains
        ports.append(AdminPort(settings, running.server, lambda: noted.append(1)))
        return await ports[-1].start()

    yield start
    for port in ports:
        port.close()


async def test_figures_views_and_a_list_of_what_there_is(
    start_server: StartServer, start_admin: StartAdmin
) -> None:
    running = await start_server()
    url = await start_admin(running)
    async with (
        connect(f"{running.ws_url}/ws/v1/") as client,
        httpx.AsyncClient(base_url=url) as http,
    ):
        hello = await said(client)
        metrics = await http.get("/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(metrics.text)}
        assert families["mdbus_bridge_clients"].samples[0].value == 1
        assert "mdbus_bridge_lag_seconds" in families
        connz = (await http.get("/admin/connz")).json()
        assert [row["id"] for row in connz["connections"]] == [hello["connection_id"]]
        for path in ("/admin/topicz", "/admin/feedz", "/healthz", "/readyz", "/admin/"):
            assert (await http.get(path)).status_code == 200
        for path, status in (
            ("/nope", 404), ("/admin/connz?sort=beauty", 400), ("/admin/connz?limit=-1", 400),
            ("/admin/topicz?limit=x", 400), ("/admin/kick", 405), ("/admin/drain", 405),
            ("/metrics?" + "a=1&" * 40, 400),
        ):  # fmt: skip
            assert (await http.get(path)).status_code == status, path
        assert (await http.post("/metrics")).status_code == 405
        head = await http.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")


async def test_pages_and_names_are_kept_out(
    start_server: StartServer, start_admin: StartAdmin
) -> None:
    url = await start_admin(await start_server())
    async with httpx.AsyncClient(base_url=url) as http:
        for headers in (
            {"Origin": url}, {"Origin": "null"}, {"Host": "evil.test"},
            {"Host": "127.0.0.1.evil.test:80"}, {"Host": ""},
        ):  # fmt: skip
            assert (await http.post("/admin/drain", headers=headers)).status_code == 403, headers
        for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
            assert (await http.get("/metrics", headers={"Host": host})).status_code == 200


async def test_a_token_is_needed_where_there_is_one(
    start_server: StartServer, start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN", "a token of enough bytes")
    url = await start_admin(await start_server(), "bridge.admin.token=env:ADMIN")
    async with httpx.AsyncClient(base_url=url) as http:
        for header in ("", "Bearer", "Bearer wrong", "Basic a token of enough bytes"):
            refused = await http.get("/metrics", headers={"Authorization": header})
            assert refused.status_code == 401
        good = {"Authorization": "Bearer a token of enough bytes", "Host": "desk.example"}
        assert (await http.get("/metrics", headers=good)).status_code == 200
        page = good | {"Origin": "http://desk.example"}
        assert (await http.get("/metrics", headers=page)).status_code == 403


async def test_a_token_that_is_none_is_told(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = (await start_server()).server
    monkeypatch.setenv("SHORT", "short")
    for overrides, named in (
        (["bridge.admin.token=env:NO_SUCH"], "NO_SUCH"),
        (["bridge.admin.token=env:SHORT"], "at least 16"),
    ):
        with pytest.raises(ConfigError, match=named):
            AdminPort(load(None, overrides).bridge.admin, server, lambda: None)


@pytest.mark.parametrize("what", ["user", "address", "id"])
async def test_an_operator_closes_connections(
    start_server: StartServer, start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("MDBUS_TEST_KEY", "0123456789abcdef0123456789abcdef")
    one, other = await start_server(*JWT), await start_server(*JWT)
    url = await start_admin(one)
    shown = {"Authorization": f"Bearer {token('villain')}"}
    hero = {"Authorization": f"Bearer {token('hero')}"}
    async with (
        connect(f"{one.ws_url}/ws/v1/", additional_headers=shown) as here,
        connect(f"{other.ws_url}/ws/v1/", additional_headers=shown) as there,
        connect(f"{other.ws_url}/ws/v1/", additional_headers=hero) as innocent,
        httpx.AsyncClient(base_url=url) as http,
    ):
        hello = await said(here)
        await said(there)
        await said(innocent)
        value = {"user": "villain", "address": "127.0.0.1", "id": hello["connection_id"]}[what]
        answer = await http.post(f"/admin/kick?{what}={value}")
        assert answer.json() == {"kicked": 2 if what == "user" else 1}
        assert await end_of(here) == (4508, "kicked")
        if what == "user":
            assert await end_of(there) == (4508, "kicked")
        await innocent.send('{"action":"ping"}')
        assert (await said(innocent))["type"] == "pong"
        for query in ("", "user=", "user=a&id=b", "name=x"):
            assert (await http.post(f"/admin/kick?{query}")).status_code == 400


async def test_drain_is_asked_for_once(start_server: StartServer, start_admin: StartAdmin) -> None:
    drains: list[int] = []
    url = await start_admin(await start_server(), drains=drains)
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/admin/drain")).status_code == 202
    assert drains == [1]


async def test_while_a_worker_drains_it_is_not_ready_and_can_still_be_looked_at(
    start_server: StartServer, start_admin: StartAdmin
) -> None:
    running = await start_server("bridge.drain_s=3")
    url = await start_admin(running)
    async with (
        connect(f"{running.ws_url}/ws/v1/") as client,
        httpx.AsyncClient(base_url=url) as http,
    ):
        await said(client)
        assert (await http.get("/readyz")).json()["ready"] is True
        drain = asyncio.create_task(running.server.drain())
        assert (await said(client))["status"] == "draining"
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["accepting"]) == (503, False)
        assert 'mdbus_bridge_draining{worker="bridge.1"} 1.0' in (await http.get("/metrics")).text
        assert await end_of(client) == (4001, "draining")
        await asyncio.wait_for(drain, 15)


async def test_garbage_is_answered_or_cut_off_and_harms_nobody(
    start_server: StartServer, start_admin: StartAdmin
) -> None:
    url = await start_admin(await start_server())
    port = int(url.rpartition(":")[2])
    chance = random.Random(7)
    pieces = [b"GET / HTTP/1.1\r\n", b"\r\n", b"Host: 127.0.0.1\r\n", b"\0\xff", b"A" * 9000,
              b"POST /admin/kick HTTP/1.1\r\nContent-Length: 9\r\n\r\nuser=hero"]  # fmt: skip
    for _ in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(chance.choices(pieces, k=chance.randint(1, 5))) or b"\r\n")
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 15)
        writer.close()
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_a_named_port_goes_from_one_worker_to_the_next(
    start_server: StartServer, free_port: Callable[[], int]
) -> None:
    """Both live for a while when bridges are replaced one at a time."""
    settings = load(None, [f"bridge.admin.port={free_port()}"]).bridge.admin
    drained: list[int] = []
    first, second = [
        AdminPort(settings, (await start_server()).server, partial(drained.append, number))
        for number in (1, 2)
    ]
    try:
        url = await first.start()
        assert await second.start() == url
        first.make_way()
        for _ in range(20):
            async with httpx.AsyncClient(base_url=url) as http:
                assert (await http.post("/admin/drain")).is_success
        assert drained == [2] * 20
    finally:
        first.close()
        second.close()


def test_each_worker_has_the_next_port() -> None:
    assert [port_of(9100, f"bridge.{n}") for n in (1, 2, 10)] == [9100, 9101, 9109]
    assert port_of(0, "bridge.3") == 0
    assert port_of(9100, "wsbridge") == 9100


def test_a_process_announces_its_admin_port_and_reads_the_list_again_on_sighup(
    broker_dir: Path, run_dir: Path
) -> None:
    denied = run_dir / "denied"
    denied.write_text("")
    key = run_dir / "key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    process = run_bridge(
        run_dir, "port = 0", 'auth = "jwt"', "[bridge.access]", f'deny_list = "{denied}"',
        "[bridge.access.keys]", f'main = "{key}"',
    )  # fmt: skip
    assert process.stderr is not None
    while "ready" not in (line := process.stderr.readline()):
        assert line, "the bridge ended before it was ready"
    admin = next(word for word in line.split() if word.startswith("admin="))[6:]
    assert httpx.get(f"{admin}/healthz").status_code == 200
    denied.write_text("sub:eve\n")
    os.kill(process.pid, signal.SIGHUP)
    while "keys read" not in (line := process.stderr.readline()):
        assert line, "the bridge ended on SIGHUP"
    assert "mdbus_bridge_deny_list_entries" in httpx.get(f"{admin}/metrics").text
    httpx.post(f"{admin}/admin/drain")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err
