"""What an operator sees is what is there."""

from __future__ import annotations

import json

from websockets.asyncio.client import connect

from bus.wsbridge.admin import views
from bus.wsbridge.admin.metrics import HELP
from tests.wsbridge.clients import said, until
from tests.wsbridge.conftest import StartServer


async def test_connections_topics_and_feeds(start_server: StartServer) -> None:
    running = await start_server()
    server = running.server
    url = f"{running.ws_url}/ws/v1/"
    async with connect(url) as one, connect(url) as other:
        ids = {(await said(client))["connection_id"] for client in (one, other)}
        await one.send(json.dumps({"action": "subscribe", "topics": ["price.BTC", "price.ETH"]}))
        await until(one, "subscription")
        await other.send(json.dumps({"action": "subscribe", "topics": ["price.BTC"]}))
        await until(other, "subscription")
        seen = views.connections(server, sort="topics", limit=10)
        assert {row["id"] for row in seen["connections"]} == ids
        assert [row["topics"] for row in seen["connections"]] == [2, 1]
        first = seen["connections"][0]
        assert (first["address"], first["user"], first["waits_for_token"]) == (
            "127.0.0.1", None, False,
        )  # fmt: skip
        assert first["bytes_out"] > 500
        assert len(views.connections(server, sort="age", limit=1)["connections"]) == 1
        wanted = views.topics(server, limit=10)["topics"]
        assert [(row["topic"], row["clients"]) for row in wanted] == [
            ("price.BTC", 2), ("price.ETH", 1),
        ]  # fmt: skip
        assert wanted[0]["bus_topic"] == "md/price/sim/BTC-USDT/"
        assert {row["feed"] for row in views.feeds(server)["feeds"]} >= {"binance", "finnhub"}
        figures = views.figures(server)
        assert figures.gauges["clients"] == 2
        assert figures.counters["requests"] == 2
        assert {*figures.gauges, *figures.counters, *figures.labelled} <= HELP.keys()
