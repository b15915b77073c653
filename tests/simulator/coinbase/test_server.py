"""The simulated Coinbase over real sockets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.simulator.coinbase.server import CoinbaseServer
from bus.simulator.listener import PortTaken
from bus.testing import eventually
from tests.simulator.conftest import Serve, SimulatedVenue, ask, receive

ALL = ["level2_batch", "matches", "ticker", "heartbeat"]


def served(venue: SimulatedVenue) -> CoinbaseServer:
    assert isinstance(venue.server, CoinbaseServer)
    return venue.server


async def subscribe(client: ClientConnection, product: str = "BTC-USD", *channels: str) -> Any:
    return await ask(
        client, type="subscribe", product_ids=[product], channels=list(channels) or ALL
    )


async def test_every_channel_speaks_after_its_first_message(
    coinbase: Serve, loop_kind: str
) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        venue.run(5)
        said = await subscribe(client)
        assert [one["name"] for one in said["channels"]] == ["level2", *ALL[1:]]
        first = await receive(client, 2)
        assert [message["type"] for message in first] == ["snapshot", "last_match"]
        assert len(first[0]["bids"]) == len(venue.markets["BTC-USD"].ladder.bid_prices)
        venue.run(5)
        seen: set[str] = set()
        while not seen >= {"l2update", "match", "ticker", "heartbeat"}:
            seen.add((await receive(client, 1))[0]["type"])


async def test_who_says_nothing_for_five_seconds_is_cut_off(coinbase: Serve) -> None:
    async with coinbase() as venue:
        served(venue).first_message_s = 0.05
        async with venue.connect("/") as client:
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (
                1008,
                "no subscribe message within 5 seconds",
            )


async def test_a_wrong_product_is_an_error(coinbase: Serve) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        said = await subscribe(client, "NO-PE")
    assert said == {
        "type": "error",
        "message": "Failed to subscribe",
        "reason": "NO-PE is not a valid product",
    }


async def test_unsubscribing_stops_a_channel_and_subscribing_brings_a_new_snapshot(
    coinbase: Serve,
) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        await subscribe(client, "BTC-USD", "level2_batch")
        await receive(client, 1)
        request = {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["level2_batch"]}
        assert (await ask(client, **request))["channels"] == []
        venue.run(1)
        await subscribe(client, "BTC-USD", "level2_batch")
        assert (await receive(client, 1))[0]["type"] == "snapshot"


async def test_the_status_channel_lists_the_products(coinbase: Serve) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        await ask(client, type="subscribe", channels=["status"])
        (status,) = await receive(client, 1)
    assert [one["id"] for one in status["products"]] == ["BTC-USD", "ETH-USD"]


async def test_a_flood_is_closed(coinbase: Serve) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        text = '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["heartbeat"]}'
        for _ in range(102):
            await client.send(text)
        with pytest.raises(ConnectionClosed):
            await receive(client, 200)
        assert client.close_reason == "ErrSlowRead"
        assert venue.server.traffic.flood_clients == 1


async def test_diff_faults_and_silence(coinbase: Serve) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        await subscribe(client, "BTC-USD", "level2_batch", "heartbeat")
        await receive(client, 1)
        await venue.fault("drop_diff", symbol="BTC-USD", count=2)
        await venue.fault("silence", stream="BTC-USD@heartbeat", seconds=60)
        venue.run(2)
        await venue.fault("garbage")
        kinds = []
        while True:
            text = await client.recv()
            if b"sequ" in (raw := text.encode() if isinstance(text, str) else text) and (
                raw.startswith(b'{"type":"match"')
            ):
                break
            kinds.append(msgspec.json.decode(raw)["type"])
        assert set(kinds) == {"l2update"}
        assert venue.server.faults.happened["drop_diff"] == 2
        assert venue.server.faults.happened["silent_message"] >= 2


@pytest.mark.parametrize(("kind", "size"), [("unknown_event", 50), ("big_frame", 5_000_000)])
async def test_odd_messages(coinbase: Serve, kind: str, size: int) -> None:
    async with coinbase() as venue, venue.connect("/") as client:
        await subscribe(client, "BTC-USD", "heartbeat")
        await venue.fault(kind)
        text = await client.recv()
        assert msgspec.json.decode(text)["type"] == "simulatedNovelty"
        assert len(text) == size or kind == "unknown_event"


async def test_faults_this_venue_cannot_have_are_refused(coinbase: Serve) -> None:
    async with coinbase() as venue:
        for kind in ("wrong_checksum&symbol=BTC-USD", "engine_status", "server_shutdown"):
            answer = await venue.get(f"/_sim/fault?kind={kind}")
            assert answer.status_code == (400 if kind != "server_shutdown" else 200)
        assert (await venue.get("/_sim/fault?kind=drop_trade&symbol=BTC-USD")).status_code == 200


async def test_rest_and_its_faults(coinbase: Serve) -> None:
    async with coinbase() as venue:
        assert [one["id"] for one in (await venue.get("/products")).json()] == [
            "BTC-USD",
            "ETH-USD",
        ]
        await venue.fault("rest_429", seconds=30)
        refused = await venue.get("/products")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
        assert (await venue.get("/_sim/clear")).status_code == 200
        assert (await venue.get("/products/x")).json() == {"message": "NotFound"}


async def test_more_clients_than_allowed_get_503(coinbase: Serve) -> None:
    async with coinbase(max_connections=1) as venue, venue.connect("/"):
        with pytest.raises(InvalidStatus):
            await venue.connect("/")
        assert venue.server.traffic.refused_connections == 1


async def test_close_and_abort(coinbase: Serve) -> None:
    async with coinbase() as venue:
        async with venue.connect("/") as client:
            await eventually(lambda: venue.server.clients)
            await venue.fault("close", code=1012, reason="restart")
            await client.wait_closed()
            assert client.close_code == 1012
        async with venue.connect("/") as client:
            await eventually(lambda: venue.server.clients)
            await venue.fault("abort")
            await client.wait_closed()
            assert client.close_code == 1006
        await eventually(lambda: not venue.server.clients)


async def test_a_taken_port_says_which_setting_to_change(coinbase: Serve) -> None:
    async with coinbase() as one, coinbase() as other:
        with pytest.raises(PortTaken, match=r"simulator\.ports\.coinbase"):
            await other.server.start("127.0.0.1", one.port)
