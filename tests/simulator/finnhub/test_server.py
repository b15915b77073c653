"""The simulated Finnhub over real sockets."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.simulator.finnhub.server import FinnhubServer
from bus.testing import eventually
from tests.simulator.conftest import Serve, SimulatedVenue, receive


def served(venue: SimulatedVenue) -> FinnhubServer:
    assert isinstance(venue.server, FinnhubServer)
    return venue.server


async def subscribed(venue: SimulatedVenue, count: int) -> None:
    server = served(venue)
    await eventually(
        lambda: (
            sum(
                len(session.trades) + len(session.news) + len(session.releases)
                for session in server.clients.values()
            )
            == count
        )
    )


async def test_trades_of_subscribed_symbols_only(finnhub: Serve, loop_kind: str) -> None:
    async with finnhub() as venue, venue.connect("/?token=k") as client:
        await client.send('{"type":"subscribe","symbol":"AAPL"}')
        await subscribed(venue, 1)
        venue.run(5)
        frames = await receive(client, 5)
    assert {frame["type"] for frame in frames} == {"trade"}
    assert {row["s"] for frame in frames for row in frame["data"]} == {"AAPL"}


async def test_two_clients_get_what_each_has_asked_for(finnhub: Serve) -> None:
    async with (
        finnhub() as venue,
        venue.connect("/?token=a") as one,
        venue.connect("/?token=b") as other,
    ):
        await one.send('{"type":"subscribe","symbol":"AAPL"}')
        await other.send('{"type":"subscribe","symbol":"MSFT"}')
        await subscribed(venue, 2)
        venue.run(5)
        for client, symbol in ((one, "AAPL"), (other, "MSFT")):
            rows = [row for frame in await receive(client, 3) for row in frame["data"]]
            assert {row["s"] for row in rows} == {symbol}


@pytest.mark.parametrize("path", ["/", "/?token="])
async def test_no_key_is_401(finnhub: Serve, path: str) -> None:
    async with finnhub() as venue:
        with pytest.raises(InvalidStatus) as refused:
            await venue.connect(path)
    assert refused.value.response.status_code == 401


async def test_a_wrong_key_is_401_where_one_is_set(finnhub: Serve) -> None:
    async with finnhub(finnhub_token="right") as venue:
        with pytest.raises(InvalidStatus):
            await venue.connect("/?token=wrong")
        async with venue.connect("/?token=right") as client:
            assert client.close_code is None
        reply = await venue.get("/api/v1/quote?symbol=AAPL&token=wrong")
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key."})


async def test_a_second_connection_with_a_key_drops_both(finnhub: Serve, loop_kind: str) -> None:
    async with finnhub() as venue, venue.connect("/?token=k") as one:
        async with venue.connect("/?token=k") as other:
            for client in (one, other):
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert client.close_code == 1006
        await eventually(lambda: not served(venue).clients)
        async with venue.connect("/?token=k") as third:
            assert third.close_code is None


async def test_one_symbol_too_many(finnhub: Serve) -> None:
    async with finnhub(finnhub_max_symbols=2) as venue, venue.connect("/?token=k") as client:
        for number in range(3):
            await client.send(json.dumps({"type": "subscribe", "symbol": f"S{number}"}))
        assert await receive(client, 1) == [
            {"msg": "Subscribing to too many symbols", "type": "error"}
        ]


async def test_pings_come_at_their_interval(finnhub: Serve) -> None:
    async with finnhub(finnhub_ping_s=60.0) as venue, venue.connect("/?token=k") as client:
        await eventually(lambda: served(venue).clients)
        venue.run(125, step_s=1)
        assert await receive(client, 2) == [{"type": "ping"}] * 2
        assert venue.server.traffic.messages_out == 2


async def test_company_news_and_releases_are_streamed(finnhub: Serve) -> None:
    async with finnhub(news_interval_s=0.5) as venue, venue.connect("/?token=k") as client:
        for type_ in ("subscribe-news", "subscribe-pr"):
            for symbol in ("AAPL", "MSFT"):
                await client.send(json.dumps({"type": type_, "symbol": symbol}))
        await subscribed(venue, 4)
        venue.run(30, step_s=0.2)
        frames = await receive(client, 20)
    kinds = {frame["type"] for frame in frames}
    assert kinds == {"news", "pr"}
    news = [frame["data"][0] for frame in frames if frame["type"] == "news"]
    ids = [item["id"] for item in news]
    assert ids == sorted(set(ids))


async def test_rest_takes_the_key_from_header_or_query(finnhub: Serve, loop_kind: str) -> None:
    async with finnhub() as venue:
        by_header = await venue.get("/api/v1/quote?symbol=AAPL", **{"X-Finnhub-Token": "k"})
        by_query = await venue.get("/api/v1/quote?symbol=AAPL&token=k")
        without = await venue.get("/api/v1/quote?symbol=AAPL")
    assert by_header.json() == by_query.json()
    assert by_header.json()["c"] > 0
    assert without.status_code == 401


async def test_rest_refused_on_demand(finnhub: Serve) -> None:
    async with finnhub() as venue:
        await venue.fault("rest_429", seconds=7)
        reply = await venue.get("/api/v1/quote?symbol=AAPL&token=k")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
    assert reply.json()["error"].startswith("API limit reached")


async def test_silence_of_everything_includes_pings(finnhub: Serve) -> None:
    async with finnhub(finnhub_ping_s=1.0) as venue, venue.connect("/?token=k") as client:
        await client.send('{"type":"subscribe","symbol":"AAPL"}')
        await subscribed(venue, 1)
        await venue.fault("silence", seconds=30)
        venue.run(29, step_s=0.2)
        assert venue.server.traffic.messages_out == 0
        venue.run(5, step_s=0.2)
        assert {frame["type"] for frame in await receive(client, 8)} == {"trade", "ping"}


async def test_figures_count_what_happened(finnhub: Serve) -> None:
    async with finnhub() as venue, venue.connect("/?token=k") as client:
        await client.send('{"type":"subscribe","symbol":"BINANCE:BTCUSDT"}')
        await subscribed(venue, 1)
        for _ in range(100):
            venue.markets["BTCUSDT"].step(venue.clock.now_ns + 20_000_000)
            venue.run(0.02)
        await receive(client, 3)
        figures = venue.server.figures()
    assert figures["finnhub_connections"] == 1
    assert figures["finnhub_messages_in"] == 1
    assert figures["finnhub_messages_out"] >= 3
