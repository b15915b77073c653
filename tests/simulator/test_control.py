"""Faults on demand, over real sockets."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from websockets.exceptions import ConnectionClosed

from bus.simulator.binance.server import BinanceServer
from bus.simulator.control import Control
from bus.simulator.http_reply import Target
from bus.testing import eventually
from tests.simulator.conftest import ManualClock, Serve, SimulatedVenue, receive

DEPTH = "/ws/btcusdt@depth@100ms"


async def settled(venue: SimulatedVenue) -> None:
    assert isinstance(venue.server, BinanceServer)
    server = venue.server
    await eventually(lambda: server.hub.wants("btcusdt@depth@100ms"))


async def test_a_dropped_diff_leaves_one_gap(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        await venue.fault("drop_diff", symbol="BTCUSDT")
        venue.run(1.05)
        events = await receive(client, 9)
    gaps = [1 for one, other in pairwise(events) if other["U"] != one["u"] + 1]
    assert not gaps  # the first diff is the lost one: nothing came before it
    assert venue.server.faults.happened["drop_diff"] == 1


async def test_a_gap_in_the_middle(binance: Serve) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        venue.run(0.3)
        await venue.fault("drop_diff", symbol="btcusdt", count=2)
        venue.run(0.8)
        events = await receive(client, 8)
    jumps = [other["U"] - one["u"] - 1 for one, other in pairwise(events)]
    assert sum(jump > 0 for jump in jumps) == 1


async def test_a_repeated_diff_comes_twice(binance: Serve) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        await venue.fault("repeat_diff", symbol="BTCUSDT")
        venue.run(0.35)
        one, other, third = await receive(client, 3)
    assert one == other
    assert third["U"] == other["u"] + 1


async def test_swapped_diffs_change_places(binance: Serve) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        await venue.fault("swap_diff", symbol="BTCUSDT")
        venue.run(0.35)
        later, earlier, third = await receive(client, 3)
    assert later["U"] == earlier["u"] + 1
    assert third["U"] == later["u"] + 1


async def test_garbage_is_not_json(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/stream") as client:
        await venue.fault("garbage")
        text = await client.recv()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_an_unknown_event_is_json_in_the_form_of_the_connection(
    binance: Serve, path: str
) -> None:
    async with binance() as venue, venue.connect(path) as client:
        await venue.fault("unknown_event")
        (message,) = await receive(client, 1)
    payload = message["data"] if path == "/stream" else message
    assert payload["e"] == "simulatedNovelty"


@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_a_big_frame_has_the_asked_size_and_is_json(binance: Serve, path: str) -> None:
    async with binance() as venue, venue.connect(path) as client:
        await venue.fault("big_frame", bytes=5_000_000)
        text = await client.recv()
    assert len(text) == 5_000_000
    json.loads(text)


async def test_silence_keeps_the_socket_open_and_ends(binance: Serve) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        await venue.fault("silence", seconds=5)
        venue.run(5)
        began_ns = venue.clock.now_ns
        venue.run(0.3)
        (event,) = await receive(client, 1)
        assert client.close_code is None
    assert event["E"] >= began_ns // 1_000_000


async def test_silence_of_one_stream_leaves_the_others(binance: Serve) -> None:
    path = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
    async with binance() as venue, venue.connect(path) as client:
        await settled(venue)
        await venue.fault("silence", stream="btcusdt@depth@100ms", seconds=60)
        venue.run(1)
        messages = await receive(client, 10)
    assert {message["stream"] for message in messages} == {"btcusdt@bookTicker"}


async def test_close_with_a_code_and_reason(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        await venue.fault("close", code=1012, reason="restart")
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1012, "restart")


async def test_abort_is_seen_as_1006(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        await venue.fault("abort")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1006


async def test_faults_may_be_aimed_at_one_client(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws") as one:
        (number,) = (await venue.get("/_sim/state")).json()["clients"]
        async with venue.connect("/ws") as other:
            answer = await venue.fault("close", client=number)
            assert answer["detail"]["clients"] == 1
            await one.wait_closed()
            assert other.close_code is None


async def test_server_shutdown_is_announced_then_done(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/stream") as client:
        await venue.fault("server_shutdown", close_after_s=0)
        (message,) = await receive(client, 1)
        assert message["stream"] == "!serverShutdown"
        assert message["data"]["e"] == "serverShutdown"
        await client.wait_closed()
        assert client.close_code == 1001


@pytest.mark.parametrize("status", [429, 418])
async def test_rest_is_refused_for_a_while(binance: Serve, status: int) -> None:
    async with binance() as venue:
        await venue.fault(f"rest_{status}", seconds=10)
        refused = await venue.get("/api/v3/ping")
        venue.clock.advance(10)
        allowed = await venue.get("/api/v3/ping")
    assert (refused.status_code, refused.headers["retry-after"]) == (status, "10")
    assert refused.json()["code"] == -1003
    assert allowed.status_code == 200


async def test_a_delayed_depth_reply_is_the_book_of_the_moment_it_was_asked(
    binance: Serve,
) -> None:
    async with binance() as venue:
        await venue.fault("depth_delay", seconds=0.1)
        before = venue.markets["BTCUSDT"].ladder.update_id
        began = time.monotonic()
        reply = await venue.get("/api/v3/depth?symbol=BTCUSDT")
        took_s = time.monotonic() - began
    assert reply.json()["lastUpdateId"] == before
    assert took_s >= 0.1


async def test_clock_skew_shows_in_every_time(binance: Serve) -> None:
    async with binance() as venue, venue.connect(DEPTH) as client:
        await settled(venue)
        await venue.fault("clock_skew", ms=-3_600_000)
        venue.run(0.12)
        (event,) = await receive(client, 1)
        shown = (await venue.get("/api/v3/time")).json()["serverTime"]
    assert shown == venue.clock.now_ns // 10**6 - 3_600_000
    assert abs(event["E"] - shown) < 200


async def test_clear_disarms(binance: Serve) -> None:
    async with binance() as venue:
        await venue.fault("rest_429")
        await venue.fault("drop_diff", symbol="BTCUSDT", count=5)
        assert (await venue.get("/_sim/state")).json()["armed"]["refuse"] == 429
        await venue.get("/_sim/clear")
        armed = (await venue.get("/_sim/state")).json()["armed"]
    assert (armed["refuse"], armed["diffs"]) == (None, {})


@pytest.mark.parametrize(
    "query",
    [
        "kind=nonsense",
        "",
        "kind=drop_diff",
        "kind=drop_diff&symbol=NOPE",
        "kind=drop_diff&symbol=BTCUSDT&count=0",
        "kind=drop_diff&symbol=BTCUSDT&count=1.5",
        "kind=silence&seconds=-1",
        "kind=silence&seconds=nan",
        "kind=close&code=1006",
        "kind=close&code=99",
        "kind=abort&client=999999",
        "kind=depth_delay&seconds=x",
        f"kind=close&reason={'x' * 124}",
    ],
)
async def test_a_wrong_parameter_is_400_and_changes_nothing(binance: Serve, query: str) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        reply = await venue.get(f"/_sim/fault?{query}")
        assert reply.status_code == 400
        assert reply.json()["error"]
        assert not venue.server.faults.happened
        assert client.close_code is None


async def test_other_pages(binance: Serve) -> None:
    async with binance() as venue:
        assert (await venue.get("/_sim/elsewhere")).status_code == 404
        assert (await venue.get("/_sim/playback")).status_code == 404
        state = (await venue.get("/_sim/state")).json()
    assert state["clients"] == []
    assert state["figures"]["binance_messages_out"] == 0


async def test_callers_from_elsewhere_are_refused(binance: Serve) -> None:
    async with binance() as venue:
        assert isinstance(venue.server, BinanceServer)
        control = Control(venue.server, ManualClock())
        reply = control.answer(Target.parse("/_sim/clear"), "192.0.2.7", {})
    assert reply.status == 403


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200)]
)
async def test_foreign_pages_in_a_browser_here_are_refused(
    binance: Serve, site: str, status: int
) -> None:
    async with binance() as venue:
        reply = await venue.get("/_sim/clear", **{"Sec-Fetch-Site": site})
    assert reply.status_code == status


async def test_finnhub_has_the_faults_that_make_sense_there(finnhub: Serve) -> None:
    async with finnhub() as venue, venue.connect("/?token=k") as client:
        await venue.fault("unknown_event")
        await venue.fault("big_frame", bytes=2_000)
        await venue.fault("garbage")
        novelty, big, garbage = [await client.recv() for _ in range(3)]
        assert json.loads(novelty)["type"] == "simulatedNovelty"
        assert len(big) == 2_000
        json.loads(big)
        with pytest.raises(json.JSONDecodeError):
            json.loads(garbage)
        for query in ("kind=server_shutdown", "kind=drop_diff&symbol=BTCUSDT"):
            assert (await venue.get(f"/_sim/fault?{query}")).status_code == 400
        await venue.fault("close", code=1011)
        await client.wait_closed()
        assert client.close_code == 1011
