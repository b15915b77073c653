"""Point 17: the five ways, what does not hold, tickets once on the host, refresh, expiry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.conformance.workers import Worker, key_file, workers
from tests.wsbridge.access.tokens import SECRET, encoded, jwt_of, now_s, ticket, token
from tests.wsbridge.clients import end_of, said, until

PAGE = Origin("https://desk.example")


def settings(run_dir: Path, *lines: str) -> str:
    return "\n".join(
        (
            '[bridge]\nport = 0\ndrain_s = 0.1\nclose_timeout_s = 0.1\nauth = "jwt"\norigins = ["https://desk.example"]',
            '[bridge.access]\naudience = ["mdbus"]\nallow_query_token = true',
            *lines,
            f'[bridge.access.keys]\nmain = "{key_file(run_dir, SECRET)}"',
        )
    )


async def auth(client: ClientConnection, text: str) -> dict[str, Any]:
    await client.send(json.dumps({"action": "auth", "token": text}))
    while (message := await said(client))["type"] not in ("connection", "error"):
        pass
    return message


async def test_the_five_ways(run_dir: Path) -> None:
    with workers(run_dir, settings(run_dir)) as (worker,):
        url = f"{worker.ws_url}/ws/v1/"
        header = {"Authorization": f"Bearer {token('a', aud='mdbus')}"}
        async with connect(url, additional_headers=header) as client:
            assert (await said(client))["user"] == "a"
        offered = [
            Subprotocol("mdbus.v1.json"),
            Subprotocol(f"mdbus.bearer.{encoded(token('b', aud='mdbus').encode())}"),
        ]
        async with connect(url, subprotocols=offered, origin=PAGE) as client:
            hello = await said(client)
            assert (hello["user"], hello["profile"]) == ("b", "full")
            assert client.subprotocol == "mdbus.v1.json"
        async with connect(url, origin=PAGE) as client:
            assert (await said(client))["status"] == "auth_required"
            assert (await auth(client, token("c", aud="mdbus")))["user"] == "c"
        async with connect(f"{url}?ticket={ticket('d', aud='mdbus')}", origin=PAGE) as client:
            assert (await said(client))["user"] == "d"
        async with connect(f"{url}?token={token('e', aud='mdbus')}", origin=PAGE) as client:
            assert (await said(client))["user"] == "e"


def bad_tokens() -> dict[str, str]:
    claims = {"sub": "u", "exp": now_s() + 600, "aud": "mdbus"}
    unsigned = jwt_of(claims, header={"alg": "none"}).rpartition(".")[0] + "."
    return {
        "none": unsigned,
        "none, signed": jwt_of(claims, header={"alg": "none"}),
        "signature": jwt_of(claims, secret="another secret, also of 32 bytes"),
        "expired": jwt_of(claims | {"exp": now_s() - 60}),
        "audience": jwt_of(claims | {"aud": "others"}),
        "no audience": token("u"),
        "algorithm": jwt_of(claims, header={"alg": "HS512"}),
        "key": jwt_of(claims, header={"alg": "HS256", "kid": "other"}),
        "a ticket as a token": ticket("u", aud="mdbus"),
        "nothing": "",
    }


async def test_what_does_not_hold_lets_nobody_in_by_any_way(run_dir: Path) -> None:
    with workers(run_dir, settings(run_dir)) as (worker,):
        url = f"{worker.ws_url}/ws/v1/"
        for name, bad in bad_tokens().items():
            for way in ({"Authorization": f"Bearer {bad}"}, {}):
                where = url if way else f"{url}?token={bad}"
                with pytest.raises(InvalidStatus) as refused:
                    await connect(where, additional_headers=way)
                assert refused.value.response.status_code == 401, name
            offered = [Subprotocol(f"mdbus.bearer.{encoded(bad.encode()) or 'A'}")]
            async with connect(url, subprotocols=offered, origin=PAGE) as client:
                assert (await said(client))["type"] == "error", name
                assert await end_of(client) == (4501, "unauthorized"), name
            async with connect(url, origin=PAGE) as client:
                await said(client)
                assert (await auth(client, bad))["type"] == "error", name
                assert await end_of(client) == (4501, "unauthorized"), name


async def opened(worker: Worker, shown: str) -> int:
    try:
        async with connect(f"{worker.ws_url}/ws/v1/?ticket={shown}") as client:
            await said(client)
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_a_ticket_opens_once_whichever_worker_is_asked_and_however_it_ended(
    run_dir: Path,
) -> None:
    with workers(run_dir, settings(run_dir), 2) as (one, other):
        shown = ticket("u", aud="mdbus")
        assert [await opened(worker, shown) for worker in (one, other, one)] == [101, 401, 401]
        second = ticket("u", aud="mdbus")
        assert await opened(one, second) == 101
        one.process.kill()
        one.process.wait()
        assert await opened(other, second) == 401, "a killed worker's tickets stay used"
        long_lived = ticket("u", aud="mdbus", exp=now_s() + 3600)
        assert await opened(other, long_lived) == 401


async def test_refresh_in_place_and_the_end(run_dir: Path) -> None:
    with workers(run_dir, settings(run_dir, "leeway_s = 0")) as (worker,):
        url = f"{worker.ws_url}/ws/v1/"

        def short(**claims: Any) -> str:
            return token("u", aud="mdbus", exp=now_s() + 3, **claims)

        header = {"Authorization": f"Bearer {short()}"}
        async with (
            connect(url, additional_headers=header) as kept,
            connect(url, additional_headers=header) as ended,
        ):
            for client in (kept, ended):
                await said(client)
                assert (await until(client, "connection"))["status"] == "auth_expiring"
                names = ["price.BTC", "price.ETH"]
                await client.send(json.dumps({"action": "subscribe", "topics": names}))
                assert (await until(client, "subscription"))["count"] == 2
            renewed = token("u", aud="mdbus", topics=["price.ETH"])
            assert (await auth(kept, renewed))["status"] == "connected"
            gone = await until(kept, "subscription")
            assert (gone["reason"], gone["count"]) == ("forbidden", 1)
            assert await end_of(ended) == (4004, "token_expired")
            await kept.send('{"action":"list"}')
            assert (await until(kept, "list"))["subscribed"] == ["ETH"]
