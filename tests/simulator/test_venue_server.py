"""What the venues' shared rim does by itself."""

from __future__ import annotations

import httpx

from bus.simulator.coinbase.server import CoinbaseServer
from bus.simulator.venue_server import BaseServer
from tests.simulator.conftest import Serve


async def test_only_get_is_served(coinbase: Serve) -> None:
    async with coinbase() as venue, httpx.AsyncClient(base_url=venue.http) as client:
        # The library's own HTTP parser refuses other methods before anybody is asked.
        answer = await client.get("/products")
        assert answer.status_code == 200
        assert venue.server.traffic.requests == 1


async def test_counters_are_led_by_the_venues_name(coinbase: Serve) -> None:
    async with coinbase() as venue:
        figures = venue.server.figures()
    assert all(name.startswith("coinbase_") for name in figures)
    assert {"coinbase_streams", "coinbase_queued_bytes", "coinbase_faults"} <= set(figures)


async def test_other_paths_are_no_websocket(coinbase: Serve) -> None:
    async with coinbase() as venue:
        assert (await venue.get("/products", Upgrade="websocket")).status_code in (200, 400, 426)
        assert not venue.server.clients


def test_a_venue_says_all_that_is_asked_of_it() -> None:
    assert issubclass(CoinbaseServer, BaseServer)
    assert not CoinbaseServer.__abstractmethods__
    assert BaseServer.__abstractmethods__
