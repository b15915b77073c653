"""REST calls stay inside the budget and say what went wrong, without ever showing a key."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest

from bus.feeds.capture import Capture
from bus.feeds.errors import RestError
from bus.feeds.rest import RestClient
from bus.testing import eventually
from tests.feeds.fake_venue import FakeVenue, fake_venue, ok, silent_port


def client(venue: FakeVenue, *, budget: int = 0, timeout_s: float = 5.0) -> RestClient:
    return RestClient(
        venue.rest_base + "/",
        budget_per_minute=budget,
        timeout_s=timeout_s,
        headers={"X-Key": "c0ffee"},
        weight_header="x-mbx-used-weight-1m",
    )


async def test_an_answer_comes_with_its_time_and_the_venues_count_is_kept(loop_kind: str) -> None:
    async with fake_venue() as venue:
        venue.rest = lambda path, query: (200, {"X-MBX-USED-WEIGHT-1M": "321"}, b"[1]")
        async with client(venue, budget=1_000) as rest:
            reply = await rest.get("/api/v3/depth", {"symbol": "BTCUSDT", "limit": 5}, weight=5)
            assert reply.take() == b"[1]"
            assert reply.recv_ns > 10**18
            assert venue.requests == [("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "5"})]
            assert venue.headers[0]["X-Key"] == "c0ffee"
            assert rest.stats().used == 321


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', "refused", "Invalid symbol. (code -1121)"),
        (401, b'{"error":"Invalid API key."}', "unauthorized", "Invalid API key."),
        (404, b"<html>", "refused", "<html>"),
        (500, b"", "venue", "Because"),
        (503, b"[1]", "venue", "[1]"),
    ],
)
async def test_a_refusal_is_told_in_the_venues_words(
    status: int, body: bytes, kind: str, words: str
) -> None:
    async with fake_venue() as venue:
        venue.rest = lambda path, query: (status, {}, body)
        async with client(venue) as rest:
            with pytest.raises(RestError) as caught:
                await rest.get("/x", {"token": "never"})
            assert (caught.value.kind, caught.value.status) == (kind, status)
            assert caught.value.detail == f"GET /x: {words}"
            assert "never" not in str(caught.value)


@pytest.mark.parametrize(("status", "kind"), [(429, "limited"), (418, "banned")])
async def test_after_a_limit_every_call_waits_for_retry_after(status: int, kind: str) -> None:
    async with fake_venue() as venue:
        answers = [(status, {"Retry-After": "1"}, b'{"code":-1003,"msg":"Too much"}')]
        venue.rest = lambda path, query: answers.pop() if answers else ok({})
        async with client(venue) as rest:
            with pytest.raises(RestError) as caught:
                await rest.get("/x", {})
            assert caught.value.kind == kind
            assert caught.value.retry_after_s == pytest.approx(1.0, abs=0.1)
            assert rest.stats().banned == (status == 418)
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            await asyncio.gather(rest.get("/a", {}), rest.get("/b", {}))
            assert loop.time() - started_s > 0.9


async def test_a_spent_budget_makes_the_next_call_wait() -> None:
    async with fake_venue() as venue:
        venue.rest = lambda path, query: ok({})
        async with client(venue, budget=10) as rest:
            await rest.get("/a", {}, weight=10)
            waiting = asyncio.ensure_future(rest.get("/b", {}, weight=10))
            await rest_has_a_waiter(rest)
            assert len(venue.requests) == 1
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            rest.allow(20)
            await rest.get("/c", {}, weight=10)


async def rest_has_a_waiter(rest: RestClient) -> None:
    await eventually(lambda: rest.waiting)


async def test_no_answer_is_unreachable(free_port: Callable[[], int]) -> None:
    async with client(FakeVenue(port=free_port())) as rest:
        with pytest.raises(RestError) as caught:
            await rest.get("/x", {})
        assert caught.value.kind == "unreachable"
        assert (rest.calls, rest.failures) == (1, 1)


async def test_a_late_answer_is_a_timeout() -> None:
    with silent_port() as port:
        async with client(FakeVenue(port=port), timeout_s=0.1) as rest:
            with pytest.raises(RestError) as caught:
                await rest.get("/x", {})
        assert caught.value.kind == "timeout"


async def test_a_name_that_does_not_resolve_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with RestClient("http://venue.invalid", budget_per_minute=0, timeout_s=5) as rest:
        with pytest.raises(RestError) as caught:
            await rest.get("/x", {})
        assert caught.value.kind == "dns_failure"


async def test_a_venue_that_refuses_this_location_is_left_alone_for_a_while() -> None:
    async with fake_venue() as venue:
        venue.rest = lambda path, query: (451, {}, b"{}")
        async with client(venue) as rest:
            for _ in range(3):
                with pytest.raises(RestError) as caught:
                    await rest.get("/x", {})
                assert (caught.value.kind, caught.value.status) == ("restricted", 451)
                assert "refuses this location: HTTP 451" in caught.value.detail
            assert len(venue.requests) == 1
            rest._restricted_until_s = 0.0  # later
            venue.rest = lambda path, query: ok([])
            assert (await rest.get("/x", {})).take() == b"[]"


class Notes:
    """Stands where a capture would: what is recorded, among whatever else happens."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def exchange(self, path: str, *others: object) -> None:
        self.events.append(f"recorded {path}")


async def test_an_answer_is_recorded_when_it_is_used_and_not_before(loop_kind: str) -> None:
    """Frames handed over between its coming and its use stand before it in the capture."""
    notes = Notes()
    async with fake_venue() as venue:
        venue.rest = lambda path, query: ok({})
        async with RestClient(
            venue.rest_base, budget_per_minute=0, timeout_s=5, capture=cast(Capture, notes)
        ) as rest:
            call = asyncio.ensure_future(rest.get("/a", {}))
            await eventually(call.done)  # the answer is here, its caller has not had its turn
            notes.events.append("frame")
            reply = await call
            reply.take()
            notes.events.append("used")
            reply.take()
            await rest.get("/b", {})  # nobody uses it: nothing came of it, nothing is recorded
    assert notes.events == ["frame", "recorded /a", "used"]


async def test_a_refusal_is_recorded_before_it_is_told() -> None:
    notes = Notes()
    async with (
        fake_venue() as venue,
        RestClient(
            venue.rest_base, budget_per_minute=0, timeout_s=5, capture=cast(Capture, notes)
        ) as rest,
    ):
        with pytest.raises(RestError):
            await rest.get("/none", {})
        assert notes.events == ["recorded /none"]


PREPARED = """
import asyncio, os, sys, threading
import uvloop
from bus.feeds.__main__ import prepare
from bus.feeds.rest import RestClient
prepare()
"".encode("idna")  # as the template does for all
print(threading.active_count(), [name for name in os.listdir("/proc/self/fd") if int(name) > 2][1:])
known = set(sys.modules)

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    await writer.drain()
    writer.close()

async def ask():
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        base = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        async with RestClient(base, budget_per_minute=100, timeout_s=10.0) as client:
            return (await client.get("/", {})).take()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    print(runner.run(ask()), sorted(set(sys.modules) - known))
"""


def test_the_first_request_of_a_prepared_process_has_nothing_to_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["1 []", "b'{}' []"], done.stderr
