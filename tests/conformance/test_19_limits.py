"""Point 19: every limit, on workers that are processes of their own and share one host.

Slow handshakes are point 21, slow readers point 11, long messages point 20.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from bus.testing import eventually
from tests.conformance.workers import Worker, key_file, workers
from tests.wsbridge.access.tokens import SECRET, token
from tests.wsbridge.clients import end_of, said, until


def settings(*bridge: str, limits: str = "", jwt: Path | None = None, more: str = "") -> str:
    text = "\n".join(("[bridge]", "port = 0", "drain_s = 0.1", "close_timeout_s = 0.1", *bridge))
    if jwt is not None:
        text += '\nauth = "jwt"\norigins = ["https://desk.example"]'
        more += f'\n[bridge.access.keys]\nmain = "{key_file(jwt, SECRET)}"'
    text += f'\n[bridge.limits]\ntrusted_proxies = ["127.0.0.1"]\n{limits}\n'
    return text + more


class Crowd(AsyncExitStack):
    """Clients that stay until the end."""

    async def come(self, worker: Worker, address: str = "203.0.113.1", **headers: str) -> Any:
        """A client of an address; or the response that refused it."""
        sent = {"X-Forwarded-For": address, **headers}
        try:
            client = await self.enter_async_context(
                connect(f"{worker.ws_url}/ws/v1/", additional_headers=sent)
            )
        except InvalidStatus as refused:
            return refused.response
        return client

    async def user(self, worker: Worker, name: str, tier: str, **claims: Any) -> ClientConnection:
        shown = token(name, tier=tier, **claims)
        client = await self.come(worker, Authorization=f"Bearer {shown}")
        assert isinstance(client, ClientConnection)
        return client


async def ask(client: ClientConnection, **request: Any) -> dict[str, Any]:
    await client.send(json.dumps(request))
    return await said(client)


async def test_the_limits_in_force_are_told(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings(jwt=run_dir)) as (worker,):
            limits = (await said(await crowd.user(worker, "u", "pro")))["limits"]
            assert limits.items() >= {
                "subscriptions": 200, "connections": 5, "actions_per_minute": 300,
                "actions_per_s": 10.0, "burst": 50, "message_bytes": 65_536, "max_depth": 20,
                "connections_per_ip": 50, "new_connections_per_ip": 300,
                "new_connections_period_ms": 300_000, "server_connections": 5_000,
                "handshakes": 256, "handshake_timeout_ms": 10_000, "auth_timeout_ms": 10_000,
                "idle_ms": 60_000,
            }.items()  # fmt: skip
            lowered = await crowd.user(worker, "u", "pro", limits={"subscriptions": 2, "burst": 9})
            limits = (await said(lowered))["limits"]
            assert (limits["subscriptions"], limits["burst"]) == (2, 50)
            ack = await ask(lowered, action="subscribe", symbols=["BTC", "ETH", "SOL"])
            assert [one["code"] for one in ack["rejected"]] == ["limit_subscriptions"]
            assert (ack["count"], ack["limit"]) == (2, 2)


async def test_topics_of_a_connection_without_a_name(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits="anonymous_subscriptions = 2")) as (worker,):
            client = await crowd.come(worker)
            assert (await said(client))["limits"]["subscriptions"] == 2
            ack = await ask(client, action="subscribe", symbols=["BTC", "ETH", "SOL"])
            assert [one["code"] for one in ack["rejected"]] == ["limit_subscriptions"]


async def test_requests_of_a_connection(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits="actions_per_s = 0.5\nactions_burst = 5")) as (one,):
            client = await crowd.come(one)
            await said(client)
            assert [(await ask(client, action="ping"))["type"] for _ in range(5)] == ["pong"] * 5
            for _ in range(3):
                refused = await ask(client, action="ping")
                assert (refused["code"], refused["retryable"]) == ("rate_limited", True)
                assert 0 < refused["retry_after_ms"] <= 2_000
            assert await end_of(client) == (4007, "rate_limited")


async def test_requests_of_a_user_on_all_workers_and_after_a_reconnect(run_dir: Path) -> None:
    tier = "[bridge.tiers.slow]\nactions_per_minute = 6\nconnections = 9\n"
    async with Crowd() as crowd:
        with workers(run_dir, settings(jwt=run_dir, more=tier), 2) as both:
            for number in range(6):
                client = await crowd.user(both[number % 2], "u", "slow")
                await said(client)
                assert (await ask(client, action="ping"))["type"] == "pong"
                await client.close()
            last = await crowd.user(both[0], "u", "slow")
            await said(last)
            refused = await ask(last, action="ping")
            assert (refused["code"], refused["type"]) == ("rate_limited", "error")
            assert 0 < refused["retry_after_ms"] <= 10_000
            stranger = await crowd.user(both[0], "v", "slow")
            await said(stranger)
            assert (await ask(stranger, action="ping"))["type"] == "pong"


async def test_connections_of_a_user_the_newest_win(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings(jwt=run_dir), 2) as both:
            clients = []
            for number in range(4):
                clients.append(await crowd.user(both[number % 2], "u", "basic"))
                assert (await said(clients[-1]))["limits"]["connections"] == 3
            assert await end_of(clients[0]) == (4505, "replaced")
            for client in clients[1:]:
                assert (await ask(client, action="ping"))["type"] == "pong"


async def test_connections_of_a_user_the_newest_is_refused(run_dir: Path) -> None:
    limits = 'quota_policy = "reject"'
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits=limits, jwt=run_dir), 2) as (one, other):
            first = await crowd.user(one, "u", "free")
            await said(first)
            assert await end_of(await crowd.user(other, "u", "free")) == (4504, "connection_limit")
            one.process.kill()
            one.process.wait()
            again = await crowd.user(other, "u", "free")
            hello = await until(again, "connection")
            assert hello["status"] == "connected", "a killed worker's places are free"


async def test_connections_of_an_address(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits="connections_per_ip = 4"), 2) as (one, other):
            for number in range(4):
                assert isinstance(await crowd.come((one, other)[number % 2]), ClientConnection)
            refused = await crowd.come(one)
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
            assert isinstance(await crowd.come(one, "203.0.113.2"), ClientConnection)
            assert isinstance(await crowd.come(one, "6.6.6.6, 203.0.113.2"), ClientConnection)
            for last in range(1, 5):
                assert isinstance(await crowd.come(one, f"2001:db8::{last}"), ClientConnection)
            assert (await crowd.come(other, "2001:db8::ffff:1")).status_code == 429, "one /64"
            assert isinstance(await crowd.come(other, "2001:db8:0:1::1"), ClientConnection)
            one.process.kill()
            one.process.wait()
            assert isinstance(await crowd.come(other), ClientConnection)


async def test_new_connections_of_an_address(run_dir: Path) -> None:
    limits = "new_connections_per_ip = 5\nnew_connections_period_s = 300"
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits=limits), 2) as both:
            for number in range(5):
                client = await crowd.come(both[number % 2])
                await client.close()
            refused = await crowd.come(both[0])
            assert refused.status_code == 429
            assert 30 <= int(refused.headers["Retry-After"]) <= 60


async def test_connections_of_a_process(run_dir: Path) -> None:
    async with Crowd() as crowd:
        with workers(run_dir, settings("max_connections = 2")) as (worker,):
            first, _ = await crowd.come(worker), await crowd.come(worker)
            refused = await crowd.come(worker)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            await first.close()

            async def is_let_in() -> bool:
                return isinstance(await crowd.come(worker), ClientConnection)

            await eventually(is_let_in, 10, "the place is free")


async def test_times(run_dir: Path) -> None:
    limits = "idle_s = 0.5\nmax_age_s = 4.0"
    more = "[bridge.access]\nauth_timeout_s = 0.5\n"
    page = Origin("https://desk.example")
    async with Crowd() as crowd:
        with workers(run_dir, settings(limits=limits, jwt=run_dir, more=more)) as (worker,):
            async with connect(f"{worker.ws_url}/ws/v1/", origin=page) as nameless:
                assert (await said(nameless))["status"] == "auth_required"
                assert await end_of(nameless) == (4009, "auth_timeout")
            idle = await crowd.user(worker, "u", "pro")
            busy = await crowd.user(worker, "u", "pro")
            await said(busy)
            assert (await ask(busy, action="subscribe", symbols=["BTC"]))["count"] == 1
            assert await end_of(idle) == (4009, "idle")
            assert await end_of(busy) == (4006, "max_age")


@pytest.mark.parametrize("path", ["/ws/v1/", "/ws/market/BTC/price/"])
async def test_what_was_refused_is_counted(run_dir: Path, path: str) -> None:
    with workers(run_dir, settings(limits="connections_per_ip = 1", jwt=run_dir)) as (worker,):
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await connect(worker.ws_url + path)
            assert refused.value.response.status_code == 401, "who is refused holds no place"
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{worker.admin_url}/metrics")).text
        assert 'auth_refused_total{reason="missing",worker="bridge.1"} 2.0' in text
