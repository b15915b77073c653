"""Who is let in, told why not, replaced, reminded and shown out: over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from bus.errors import ConfigError
from bus.testing import eventually
from tests.wsbridge.access.tokens import JWT, encoded, jwt_of, now_s, ticket, token
from tests.wsbridge.clients import end_of, said, until
from tests.wsbridge.conftest import RunningServer, StartServer

pytestmark = pytest.mark.usefixtures("key")
PAGE = Origin("https://desk.example")
PAGES = 'bridge.origins=["https://desk.example"]'


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def ask(client: ClientConnection, **request: Any) -> dict[str, Any]:
    await client.send(json.dumps(request))
    return await said(client)


async def test_a_token_can_be_shown_in_five_ways(start_server: StartServer) -> None:
    running = await start_server(*JWT, PAGES, "bridge.access.allow_query_token=true")
    url = f"{running.ws_url}/ws/v1/"
    async with connect(url, additional_headers=bearer(token("a"))) as client:
        assert (await said(client))["user"] == "a"
    protocols = [Subprotocol(f"mdbus.bearer.{encoded(token('b').encode())}")]
    async with connect(url, subprotocols=protocols, origin=PAGE) as client:
        assert (await said(client))["user"] == "b"
        assert client.subprotocol is None, "the token is not echoed"
    async with connect(url, origin=PAGE) as client:
        required = await said(client)
        assert (required["status"], required["auth_timeout_ms"]) == ("auth_required", 10_000)
        assert "user" not in required
        hello = await ask(client, action="auth", id=7, token=token("c"))
        assert (hello["status"], hello["user"], hello["id"]) == ("connected", "c", 7)
    async with connect(f"{url}?ticket={ticket('d')}", origin=PAGE) as client:
        assert (await said(client))["user"] == "d"
    async with connect(f"{url}?token={token('e')}", origin=PAGE) as client:
        hello = await said(client)
        assert (hello["user"], hello["tier"]) == ("e", "pro")
        assert 3_590_000 <= hello["token_expires_in_ms"] <= 3_600_000
        assert hello["limits"]["subscriptions"] == 200
        assert hello["limits"]["connections"] == 5


async def test_the_first_place_that_holds_a_token_decides(start_server: StartServer) -> None:
    running = await start_server(*JWT)
    with pytest.raises(InvalidStatus) as refused:
        await connect(
            f"{running.ws_url}/ws/v1/?ticket={ticket()}", additional_headers=bearer("nonsense")
        )
    assert refused.value.response.status_code == 401


async def test_a_query_token_is_accepted_only_when_that_was_asked_for(
    start_server: StartServer,
) -> None:
    running = await start_server(*JWT)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{running.ws_url}/ws/v1/?token={token()}")
    assert refused.value.response.status_code == 401


BAD: list[Callable[[], str]] = [
    lambda: jwt_of({"sub": "u", "exp": now_s() + 60}, header={"alg": "none"}),
    lambda: (
        jwt_of({"sub": "u", "exp": now_s() + 60}, header={"alg": "none"}).rpartition(".")[0] + "."
    ),
    lambda: jwt_of({"sub": "u", "exp": now_s() + 60}, secret="another secret of enough bytes!!"),
    lambda: token(exp=now_s() - 31),
    lambda: token(exp=None),
    lambda: token(nbf=now_s() + 60),
    lambda: token(aud="somebody else"),
    lambda: token(sub=None),
    lambda: token(tier="emperor"),
    lambda: ticket(),
    lambda: "x" * 5000,
    lambda: "",
]


@pytest.mark.parametrize("number", range(len(BAD)))
async def test_a_bad_token_is_401_for_programs_and_4501_for_browsers(
    start_server: StartServer, number: int
) -> None:
    running = await start_server(*JWT, PAGES, 'bridge.access.audience=["mdbus"]')
    bad = BAD[number]()
    url = f"{running.ws_url}/ws/v1/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=bearer(bad))
    assert refused.value.response.status_code == 401
    assert "Bearer" in refused.value.response.headers["WWW-Authenticate"]
    async with connect(url, additional_headers=bearer(bad), origin=PAGE) as client:
        message = await said(client)
        assert (message["type"], message["status"]) == ("error", 401)
        assert await end_of(client) == (4501, "unauthorized")
    async with connect(url, origin=PAGE) as client:
        await said(client)
        message = await ask(client, action="auth", id="x", token=bad)
        assert (message["type"], message["id"]) == ("error", "x")
        assert message["code"] in ("unauthorized", "token_expired")
        assert await end_of(client) == (4501, "unauthorized")


async def test_a_ticket_is_good_once_on_all_workers(start_server: StartServer) -> None:
    one, other = await start_server(*JWT), await start_server(*JWT)
    shown = ticket()
    async with connect(f"{one.ws_url}/ws/v1/?ticket={shown}") as client:
        assert (await said(client))["status"] == "connected"
    for running in (one, other):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{running.ws_url}/ws/v1/?ticket={shown}")
        assert refused.value.response.status_code == 401


async def test_without_a_token_nothing_but_auth_and_ping_is_answered(
    start_server: StartServer,
) -> None:
    running = await start_server(*JWT, PAGES, "bridge.access.auth_timeout_s=0.3")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{running.ws_url}/ws/v1/")
    assert refused.value.response.status_code == 401
    async with connect(f"{running.ws_url}/ws/market/BTC/price/", origin=PAGE) as client:
        assert (await said(client))["status"] == "auth_required"
        assert (await ask(client, action="ping", ts=1))["type"] == "pong"
        message = await ask(client, action="list", id=2)
        assert (message["code"], message["id"]) == ("unauthorized", 2)
        assert await end_of(client) == (4009, "auth_timeout")


async def test_who_shows_no_token_hears_of_nothing(start_server: StartServer) -> None:
    running = await start_server(*JWT, PAGES, "bridge.access.auth_timeout_s=2.5")
    url = f"{running.ws_url}/ws/v1/?heartbeat_ms=1000&events=all&streams=price.BTC"
    protocols = [Subprotocol("mdbus.v1.json")]
    async with connect(url, origin=PAGE, subprotocols=protocols) as client:
        heard = [await said(client), await said(client)]
        assert [one["status"] for one in heard] == ["auth_required", "closing"]
        assert await end_of(client) == (4009, "auth_timeout")


async def test_programs_may_be_allowed_to_show_it_later(start_server: StartServer) -> None:
    running = await start_server(*JWT, "bridge.access.message_auth=everyone")
    async with connect(f"{running.ws_url}/ws/market/BTC/price/") as client:
        assert (await said(client))["status"] == "auth_required"
        hello = await ask(client, action="auth", token=token())
        assert (hello["status"], hello["symbol"]) == ("connected", "BTC")


async def test_a_token_allows_its_topics_only(start_server: StartServer) -> None:
    running = await start_server(*JWT, PAGES)
    shown = bearer(token(topics=["price.BTC", "trades.*"]))
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as client:
        await said(client)
        names = ["price.BTC", "price.BTC-USDT", "price.ETH", "trades.ETH", "ticker.BTC"]
        ack = await ask(client, action="subscribe", topics=names)
        assert [one["topic"] for one in ack["topics"]] == ["price.BTC", "trades.ETH"]
        assert {(one["topic"], one["code"]) for one in ack["rejected"]} == {
            ("price.ETH", "forbidden"), ("ticker.BTC", "forbidden"),
        }  # fmt: skip
    url = f"{running.ws_url}/ws/market/ETH/price/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=shown)
    assert refused.value.response.status_code == 403
    async with connect(url, additional_headers=shown, origin=PAGE) as client:
        assert (await said(client))["code"] == "forbidden"
        assert await end_of(client) == (4502, "forbidden")


async def test_a_newer_token_takes_the_place_of_the_old_one(start_server: StartServer) -> None:
    running = await start_server(*JWT)
    shown = bearer(token("u", topics=["price.*"]))
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as client:
        await said(client)
        await ask(client, action="subscribe", topics=["price.BTC", "price.ETH"])
        await client.send(
            json.dumps({"action": "auth", "token": token("u", topics=["price.ETH"], tier="basic")})
        )
        hello = await until(client, "connection")
        assert (hello["status"], hello["tier"]) == ("connected", "basic")
        gone = await until(client, "subscription")
        assert (gone["action"], gone["reason"]) == ("unsubscribed", "forbidden")
        assert [one["topic"] for one in gone["topics"]] == ["price.BTC"]
        assert (await ask(client, action="list"))["subscribed"] == ["ETH"]
        await client.send(json.dumps({"action": "auth", "token": token("somebody else")}))
        assert (await until(client, "error"))["code"] == "unauthorized"
        assert await end_of(client) == (4501, "unauthorized")


async def test_a_token_that_ends_is_announced_and_closes_4004(start_server: StartServer) -> None:
    running = await start_server(*JWT, "bridge.access.leeway_s=0")
    shown = bearer(token(exp=now_s() + 2))
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as client:
        await said(client)
        notice = await said(client)
        assert (notice["type"], notice["status"]) == ("connection", "auth_expiring")
        assert 0 <= notice["expires_in_ms"] <= 2_000
        assert await end_of(client) == (4004, "token_expired")


async def test_the_newest_connections_of_a_user_win_on_all_workers(
    start_server: StartServer,
) -> None:
    one, other = await start_server(*JWT), await start_server(*JWT)
    shown = bearer(token("w", tier="free"))
    async with connect(f"{one.ws_url}/ws/v1/", additional_headers=shown) as first:
        await said(first)
        async with connect(f"{other.ws_url}/ws/v1/", additional_headers=shown) as second:
            await said(second)
            assert await end_of(first) == (4505, "replaced")
            assert (await ask(second, action="ping"))["type"] == "pong"


async def test_the_newest_connection_may_be_the_one_refused(start_server: StartServer) -> None:
    running = await start_server(*JWT, "bridge.limits.quota_policy=reject")
    shown = bearer(token("r", tier="free"))
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as first:
        await said(first)
        async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as second:
            assert await end_of(second) == (4504, "connection_limit")
        assert (await ask(first, action="ping"))["type"] == "pong"
    ledger = running.server.entrance.ledger
    await eventually(lambda: ledger.counts()["connections"] == 0, 10, "the place is free")
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as again:
        assert (await said(again))["status"] == "connected"


async def test_the_requests_of_a_user_count_together_and_survive_reconnects(
    start_server: StartServer,
) -> None:
    one, other = await start_server(*JWT), await start_server(*JWT)
    shown = bearer(token("m", tier="free"))
    asked = 0
    for running in (one, other):
        async with connect(f"{running.ws_url}/ws/v1/", additional_headers=shown) as client:
            await said(client)
            for _ in range(15):
                assert (await ask(client, action="ping"))["type"] == "pong"
                asked += 1
    async with connect(f"{one.ws_url}/ws/v1/", additional_headers=shown) as client:
        await said(client)
        replies = [await ask(client, action="ping", id=n) for n in range(2)]
        refused = [reply for reply in replies if reply["type"] == "error"]
        assert refused, f"{asked} requests within a minute are the tier's limit"
        assert refused[0]["code"] == "rate_limited"
        assert 0 < refused[0]["retry_after_ms"] <= 2_000
        assert refused[0]["retryable"] is True


async def test_requests_too_fast_are_refused_and_the_third_time_closes(
    start_server: StartServer,
) -> None:
    running = await start_server("bridge.limits.actions_per_s=0.1")
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        hello = await said(client)
        assert hello["limits"]["burst"] == 50
        for _ in range(50):
            assert (await ask(client, action="ping"))["type"] == "pong"
        for number in range(3):
            message = await ask(client, action="ping", id=number)
            assert (message["code"], message["id"]) == ("rate_limited", number)
            assert message["retry_after_ms"] > 0
        assert await end_of(client) == (4007, "rate_limited")


async def test_a_connection_without_a_subscription_is_closed(start_server: StartServer) -> None:
    running = await start_server("bridge.limits.idle_s=0.4")
    url = f"{running.ws_url}/ws/v1/"
    fixed_url = f"{running.ws_url}/ws/market/ETH/price/"
    async with connect(url) as idle, connect(url) as busy, connect(fixed_url) as fixed:
        await said(busy)
        await ask(busy, action="subscribe", topics=["price.BTC"])
        assert await end_of(idle) == (4009, "idle")
        assert (await ask(busy, action="ping"))["type"] == "pong"
        await ask(busy, action="unsubscribe", all=True)
        assert await end_of(busy) == (4009, "idle")
        await fixed.send('{"action":"ping"}')
        assert await until(fixed, "pong")


async def test_a_connection_grows_too_old(start_server: StartServer) -> None:
    running = await start_server("bridge.limits.max_age_s=0.2", "bridge.drain_s=0.3")
    async with connect(f"{running.ws_url}/ws/market/BTC/price/") as client:
        await said(client)
        notice = await until(client, "connection")
        assert (notice["status"], notice["reconnect_within_ms"]) == ("draining", 300)
        assert await end_of(client) == (4006, "max_age")


PROXY = 'bridge.limits.trusted_proxies=["127.0.0.1"]'


async def attempts(running: RunningServer, address: str, count: int) -> list[int]:
    """HTTP statuses of so many connections of an address, each held open to the end."""
    statuses, held, waits_s = [], [], []
    for _ in range(count):
        try:
            held.append(
                await connect(
                    f"{running.ws_url}/ws/v1/", additional_headers={"X-Forwarded-For": address}
                )
            )
            statuses.append(101)
        except InvalidStatus as refused:
            statuses.append(refused.response.status_code)
            waits_s.append(int(refused.response.headers["Retry-After"]))
    for client in held:
        await client.close()
    assert all(wait_s >= 1 for wait_s in waits_s)
    return statuses


async def test_an_address_has_so_many_connections_on_all_workers(
    start_server: StartServer,
) -> None:
    one = await start_server(PROXY, "bridge.limits.connections_per_ip=3")
    other = await start_server(PROXY, "bridge.limits.connections_per_ip=3")
    header = {"X-Forwarded-For": "spoofed, 203.0.113.7"}
    async with connect(f"{other.ws_url}/ws/v1/", additional_headers=header):
        assert await attempts(one, "203.0.113.7", 3) == [101, 101, 429]
    assert await attempts(one, "2001:db8::1", 3) == [101] * 3
    ledger = one.server.entrance.ledger
    await eventually(lambda: ledger.counts()["connections"] == 0, 10, "the places are free")
    first = {"X-Forwarded-For": "2001:db8:0:0:a::1"}
    async with connect(f"{other.ws_url}/ws/v1/", additional_headers=first):
        assert await attempts(one, "2001:db8::b:2", 3) == [101, 101, 429], "a /64 is one address"
    assert await attempts(one, "2001:db8:0:1::1", 3) == [101] * 3


async def test_an_address_may_not_come_too_often(start_server: StartServer) -> None:
    running = await start_server(PROXY, "bridge.limits.new_connections_per_ip=5")
    statuses = []
    for _ in range(7):
        statuses += await attempts(running, "198.51.100.9", 1)
    assert statuses == [101] * 5 + [429] * 2
    assert await attempts(running, "198.51.100.10", 1) == [101]


async def test_who_may_not_be_believed_counts_for_himself(start_server: StartServer) -> None:
    running = await start_server(
        "bridge.limits.connections_per_ip=1", "bridge.limits.loopback_per_ip=true"
    )
    async with connect(f"{running.ws_url}/ws/v1/"):
        assert await attempts(running, "203.0.113.99", 1) == [429]


async def test_programs_of_this_machine_are_not_counted_by_address(
    start_server: StartServer,
) -> None:
    running = await start_server("bridge.limits.connections_per_ip=1")
    async with connect(f"{running.ws_url}/ws/v1/"), connect(f"{running.ws_url}/ws/v1/") as other:
        assert (await said(other))["limits"]["subscriptions"] == 1024


async def test_anonymous_clients_of_other_machines_have_fewer_topics(
    start_server: StartServer,
) -> None:
    running = await start_server(PROXY)
    header = {"X-Forwarded-For": "203.0.113.8"}
    async with connect(f"{running.ws_url}/ws/v1/", additional_headers=header) as client:
        assert (await said(client))["limits"]["subscriptions"] == 128


async def test_a_revoked_token_ends_its_connection_and_opens_none(
    start_server: StartServer, tmp_path: Path
) -> None:
    denied = tmp_path / "denied"
    denied.write_text("# nobody yet\n")
    running = await start_server(*JWT, f"bridge.access.deny_list={denied}")
    shown = bearer(token("v", jti="bad-one"))
    url = f"{running.ws_url}/ws/v1/"
    async with connect(url, additional_headers=shown) as client:
        await said(client)
        denied.write_text("bad-one\nsub:villain\n")
        assert await end_of(client) == (4501, "unauthorized")
    for revoked in (shown, bearer(token("villain"))):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers=revoked)
        assert refused.value.response.status_code == 401
    gate = running.server.entrance.gate
    assert gate is not None
    denied.unlink()
    await eventually(lambda: bool(gate.deny_list.problem), 10, "the list is missed")
    with pytest.raises(InvalidStatus) as closed:
        await connect(url, additional_headers=bearer(token("innocent")))
    assert closed.value.response.status_code == 503, "who was revoked is not known"
    denied.write_text("")
    await eventually(lambda: not gate.deny_list.problem, 10, "the list is back")
    async with connect(url, additional_headers=bearer(token("innocent"))) as client:
        assert (await said(client))["status"] == "connected"


async def test_a_broken_ledger_lets_nobody_in_whom_it_counts(start_server: StartServer) -> None:
    running = await start_server(*JWT, PROXY)
    running.server.entrance.ledger._db.execute("DROP TABLE connection")
    try:
        with pytest.raises(InvalidStatus) as refused:
            await connect(
                f"{running.ws_url}/ws/v1/", additional_headers={"X-Forwarded-For": "203.0.113.1"}
            )
        assert refused.value.response.status_code == 503
        with pytest.raises(InvalidStatus) as unseated:
            await connect(f"{running.ws_url}/ws/v1/", additional_headers=bearer(token()))
        assert unseated.value.response.status_code == 503
    finally:
        path = running.server.entrance.ledger._directory / "ledger.db"
        path.unlink()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["bridge.access.keys={}"], "bridge.access.keys"),
        (["bridge.access.keys.main=env:NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        (["bridge.access.keys.main=/nowhere/key"], "/nowhere/key"),
        ([JWT[1], "bridge.access.deny_list=/nowhere/denied"], "bridge.access.deny_list"),
    ],
)
async def test_a_bridge_without_what_it_needs_does_not_start(
    start_server: StartServer, overrides: list[str], named: str
) -> None:
    basic = [one for one in JWT if "keys" not in one]
    with pytest.raises(ConfigError, match=named):
        await start_server(*basic, *overrides)


async def test_auth_where_no_token_is_asked_for_is_unsupported(start_server: StartServer) -> None:
    running = await start_server()
    async with connect(f"{running.ws_url}/ws/v1/") as client:
        await said(client)
        message = await ask(client, action="auth", id=1, token="anything")
        assert (message["code"], message["id"]) == ("unsupported", 1)
        assert (await ask(client, action="ping"))["type"] == "pong"
