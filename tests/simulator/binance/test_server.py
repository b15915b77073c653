"""The simulated Binance over real sockets, with a client library it knows nothing of."""

from __future__ import annotations

import asyncio
import json
import socket
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.simulator.binance.server import BinanceServer
from bus.simulator.listener import PortTaken
from bus.testing import eventually
from tests.simulator.conftest import START_NS, Serve, SimulatedVenue, ask, receive


def served(venue: SimulatedVenue) -> BinanceServer:
    assert isinstance(venue.server, BinanceServer)
    return venue.server


async def test_a_raw_stream_carries_bare_payloads(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect("/ws/btcusdt@bookTicker") as client:
        await eventually(lambda: served(venue).hub.wants("btcusdt@bookTicker"))
        venue.run(0.5)
        first, second = await receive(client, 2)
    assert list(first) == ["u", "s", "b", "B", "a", "A"]
    assert second["u"] > first["u"]


async def test_stream_names_may_be_percent_encoded(binance: Serve) -> None:
    async with (
        binance() as venue,
        venue.connect("/ws/btcusdt%40trade"),
        venue.connect("/stream?streams=ethusdt%40trade"),
    ):
        hub = served(venue).hub
        await eventually(lambda: hub.wants("btcusdt@trade") and hub.wants("ethusdt@trade"))


async def test_a_combined_stream_wraps_and_serves_every_kind(
    binance: Serve, loop_kind: str
) -> None:
    names = [
        f"btcusdt@{kind}"
        for kind in ("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5",
                     "depth10@100ms", "depth20", "ticker", "miniTicker")
    ] + ["!miniTicker@arr"]  # fmt: skip
    async with binance() as venue, venue.connect(f"/stream?streams={'/'.join(names)}") as client:
        await eventually(lambda: served(venue).hub.stream_count == len(names))
        venue.run(2.2)
        seen: dict[str, Any] = {}
        while len(seen) < len(names):
            (message,) = await receive(client, 1)
            seen.setdefault(message["stream"], message["data"])
    assert seen["btcusdt@trade"]["e"] == "trade"
    assert seen["btcusdt@aggTrade"]["e"] == "aggTrade"
    assert seen["btcusdt@depth"]["e"] == seen["btcusdt@depth@100ms"]["e"] == "depthUpdate"
    assert [len(seen[f"btcusdt@{name}"]["bids"]) for name in ("depth5", "depth10@100ms", "depth20")
            ] == [5, 10, 20]  # fmt: skip
    assert seen["btcusdt@ticker"]["e"] == "24hrTicker"
    assert [item["s"] for item in seen["!miniTicker@arr"]] == ["BTCUSDT", "ETHUSDT"]


async def test_subscribing_live_starts_and_stops_a_stream(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        answer = await ask(client, method="SUBSCRIBE", params=["btcusdt@bookTicker"], id=1)
        assert answer == {"result": None, "id": 1}
        venue.run(0.3)
        assert (await receive(client, 1))[0]["s"] == "BTCUSDT"
        await client.send('{"method":"UNSUBSCRIBE","params":["btcusdt@bookTicker"],"id":2}')
        while "result" not in (await receive(client, 1))[0]:
            pass
        venue.run(0.3)
        listing = await ask(client, method="LIST_SUBSCRIPTIONS", id=3)
    assert listing == {"result": [], "id": 3}


async def test_an_unknown_stream_is_acknowledged_and_silent(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/stream") as client:
        names = ["nopeusdt@trade", "BTCUSDT@bookTicker"]
        assert (await ask(client, method="SUBSCRIBE", params=names, id=1))["result"] is None
        venue.run(1)
        assert await ask(client, method="LIST_SUBSCRIPTIONS", id=2) == {"result": names, "id": 2}


async def test_the_combined_property_changes_the_form(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws/btcusdt@bookTicker") as client:
        await client.send('{"method":"SET_PROPERTY","params":["combined",true],"id":1}')
        assert (await receive(client, 1))[0] == {"result": None, "id": 1}
        venue.run(0.3)
        assert (await receive(client, 1))[0]["stream"] == "btcusdt@bookTicker"


async def test_microsecond_times_on_request(binance: Serve) -> None:
    path = "/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"
    async with binance() as venue, venue.connect(path) as client:
        await eventually(lambda: served(venue).hub.wants("btcusdt@trade"))
        venue.run(2)
        (message,) = await receive(client, 1)
    assert message["data"]["T"] // 1_000_000 in range(START_NS // 10**9, START_NS // 10**9 + 3)


async def test_a_wrong_time_unit_is_refused(binance: Serve) -> None:
    async with binance() as venue:
        with pytest.raises(InvalidStatus) as refused:
            await venue.connect("/stream?timeUnit=fortnight")
    assert refused.value.response.status_code == 400


async def test_the_sixth_frame_within_a_second_closes_with_1008(
    binance: Serve, loop_kind: str
) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        for number in range(6):
            await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        with pytest.raises(ConnectionClosed):
            await receive(client, 10)
        assert (client.close_code, client.close_reason) == (1008, "Too many requests")
        assert venue.server.traffic.flood_clients == 1


async def test_pings_count_as_frames(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        for number in range(6):
            await client.ping(str(number))
        await client.wait_closed()
        assert client.close_code == 1008


async def test_stream_1025_is_refused_and_the_connection_closed(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws") as client:
        names = [f"s{number}usdt@trade" for number in range(1_025)]
        answer = await ask(client, method="SUBSCRIBE", params=names, id=1)
        assert (answer["code"], answer["id"]) == (4, 1)
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1008, "Invalid request")


async def test_the_server_pings(binance: Serve) -> None:
    async with binance(ping_interval_s=0.05) as venue, venue.connect("/ws") as client:
        await eventually(lambda: next(iter(served(venue).clients)).connection.latency > 0)
        assert client.close_code is None


async def test_a_client_that_owes_a_pong_is_cut_off(
    binance: Serve, caplog: pytest.LogCaptureFixture, loop_kind: str
) -> None:
    async with binance(ping_interval_s=0.05, pong_timeout_s=0.05) as venue:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        await eventually(lambda: served(venue).clients)
        await eventually(lambda: not served(venue).clients)
        assert b"keepalive ping timeout" in await reader.read()
        writer.close()
        await writer.wait_closed()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_connection_ends_after_its_life(binance: Serve) -> None:
    async with binance(max_connection_s=0.05) as venue, venue.connect("/ws") as client:
        await client.wait_closed()
        assert client.close_code == 1001


async def test_a_client_that_does_not_read_is_cut_off_and_counted(
    binance: Serve, loop_kind: str
) -> None:
    async with binance(client_buffer_bytes=65_536) as venue:
        with socket.create_connection(("127.0.0.1", venue.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            streams = "btcusdt@depth@100ms/btcusdt@bookTicker/ethusdt@depth@100ms"
            slow.sendall(
                f"GET /stream?streams={streams} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
            )
            async with venue.connect("/stream?streams=btcusdt@ticker") as quick:
                await eventually(lambda: len(served(venue).clients) == 2)

                async def overflow() -> bool:
                    venue.run(5)
                    return venue.server.traffic.slow_clients == 1

                await eventually(overflow, timeout_s=30)
                await eventually(lambda: len(served(venue).clients) == 1)
                assert (await receive(quick, 1))[0]["stream"] == "btcusdt@ticker"


async def test_more_clients_than_allowed_get_503(binance: Serve) -> None:
    async with binance(max_connections=1) as venue, venue.connect("/ws"):
        with pytest.raises(InvalidStatus) as refused:
            await venue.connect("/ws")
        assert refused.value.response.status_code == 503
        assert venue.server.traffic.refused_connections == 1


async def test_following_the_venues_recipe_gives_the_true_book(
    binance: Serve, loop_kind: str
) -> None:
    """An independent rebuild from the wire alone: buffer, snapshot, apply; every level equal."""
    async with binance() as venue, venue.connect("/ws/btcusdt@depth@100ms") as client:
        await eventually(lambda: served(venue).hub.wants("btcusdt@depth@100ms"))
        venue.run(0.7)
        snapshot = (await venue.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")).json()
        book = {
            key: {Decimal(price): Decimal(size) for price, size in snapshot[key]}
            for key in ("bids", "asks")
        }
        venue.run(20)
        truth = (await venue.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")).json()
        update_id, applied = snapshot["lastUpdateId"], 0
        while update_id < truth["lastUpdateId"]:
            (event,) = await receive(client, 1)
            if event["u"] <= update_id:
                continue
            assert event["U"] <= update_id + 1
            applied += 1
            update_id = event["u"]
            for key, side in (("b", book["bids"]), ("a", book["asks"])):
                for price, size in event[key]:
                    if Decimal(size):
                        side[Decimal(price)] = Decimal(size)
                    else:
                        side.pop(Decimal(price), None)
    # Steps of 20 ms from a whole second: the last diff and the last snapshot are of one moment.
    assert update_id == truth["lastUpdateId"]
    assert applied == 200
    for key in ("bids", "asks"):
        assert book[key] == {Decimal(price): Decimal(size) for price, size in truth[key]}
    assert max(book["bids"]) < min(book["asks"])


async def test_the_best_levels_of_the_diffs_agree_with_book_ticker(binance: Serve) -> None:
    path = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
    async with binance() as venue, venue.connect(path) as client:
        await eventually(lambda: served(venue).hub.stream_count == 2)
        snapshot = (await venue.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")).json()
        bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
        venue.run(10)
        quote: dict[str, Any] | None = None
        checked = 0
        while checked < 90:
            (message,) = await receive(client, 1)
            event = message["data"]
            if message["stream"].endswith("bookTicker"):
                quote = event
                continue
            for side, levels in ((bids, event["b"]), (asks, event["a"])):
                side.update(levels)
                for price, size in levels:
                    if float(size) == 0:
                        del side[price]
            if quote is not None:
                best_bid, best_ask = max(bids, key=float), min(asks, key=float)
                assert (best_bid, bids[best_bid]) == (quote["b"], quote["B"])
                assert (best_ask, asks[best_ask]) == (quote["a"], quote["A"])
                assert quote["u"] <= event["u"]
                checked += 1


async def test_rest_over_the_wire(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue:
        good = await venue.get("/api/v3/ticker/price?symbol=BTCUSDT")
        bad = await venue.get("/api/v3/depth?symbol=NOPE")
        missing = await venue.get("/nothing")
    assert good.headers["content-type"] == "application/json;charset=UTF-8"
    assert good.headers["x-mbx-used-weight-1m"] == "2"
    assert good.json()["symbol"] == "BTCUSDT"
    assert (bad.status_code, bad.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
    assert missing.status_code == 404


async def test_overspending_weight_gives_429_then_418(binance: Serve) -> None:
    async with binance(weight_per_min=1) as venue:
        replies = [await venue.get("/api/v3/ping") for _ in range(13)]
    assert [reply.status_code for reply in replies] == [200, *[429] * 10, 418, 418]
    assert int(replies[1].headers["retry-after"]) <= 60
    assert int(replies[-1].headers["retry-after"]) == 120


async def test_rest_times_in_microseconds(binance: Serve) -> None:
    async with binance() as venue:
        reply = await venue.get("/api/v3/time", **{"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert reply.json() == {"serverTime": START_NS // 1_000}


async def test_a_taken_port_says_which_setting_to_change(binance: Serve) -> None:
    async with binance() as one, binance() as other:
        with pytest.raises(PortTaken, match=r"it is in use; .* simulator\.ports\.binance"):
            await other.server.start("127.0.0.1", one.port)


async def test_closing_the_venue_closes_clients_with_1001(binance: Serve) -> None:
    async with binance() as venue:
        client = await connect(f"{venue.ws}/ws")
    await client.wait_closed()
    assert client.close_code == 1001


async def test_a_message_is_built_once_for_all_clients(
    binance: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bus.simulator.binance import messages as binance_messages

    built = 0
    original = binance_messages.ticker

    def counting(*arguments: Any) -> bytes:
        nonlocal built
        built += 1
        return original(*arguments)

    monkeypatch.setattr(binance_messages, "ticker", counting)
    async with binance() as venue:
        venue.run(3)
        assert built == 0
        path = "/stream?streams=btcusdt@ticker"
        async with venue.connect(path) as one, venue.connect(path) as other:
            await eventually(lambda: len(served(venue).clients) == 2)
            venue.run(3)
            messages = await asyncio.gather(receive(one, 3), receive(other, 3))
    assert messages[0] == messages[1]
    assert built == 3
