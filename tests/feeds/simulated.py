"""The real feed of a venue against the simulated venue, over real sockets, in one loop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from bus.clock import now_ns
from bus.config import FeedSettings
from bus.config.simulator import SimulatorSettings
from bus.feeds.capture import Capture
from bus.feeds.feed import Feed, VenueFeed
from bus.simulator.faults import Faults
from bus.simulator.process import advance, make_world
from bus.simulator.venue import find_venue
from tests.feeds.tap import Statuses, Tap, make_feed


@dataclass
class SimulatedRun:
    """Both sides: what the venue does, and what the feed said of it."""

    server: Any
    port: int
    tap: Tap
    statuses: Statuses
    feed: Feed
    venue_feed: VenueFeed

    @property
    def faults(self) -> Faults:
        faults: Faults = self.server.faults
        return faults

    def report(self, key: str) -> Any:
        return self.venue_feed.report()[key]

    def bodies(self, stream: str, symbol: str = "BTC-USD") -> list[Any]:
        return self.tap.bodies(f"md/{stream}/sim/{symbol}/")

    async def fault(self, kind: str, **parameters: object) -> None:
        query = {"kind": kind, **{name: str(value) for name, value in parameters.items()}}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            answer = await client.get("/_sim/fault", params=query)
        assert answer.status_code == 200, answer.text

    def book_of_depth(self, symbol: str = "BTC-USD") -> tuple[list[Any], list[Any]]:
        """What a consumer of `depth` has, keeping to its rule; fails where the rule is broken."""
        position: int | None = None
        sides: list[dict[float, float]] = [{}, {}]
        for depth in self.bodies("depth", symbol):
            if depth.is_snapshot:
                sides = [dict(depth.bids), dict(depth.asks)]
            else:
                assert position is not None
                assert depth.first_venue_seq <= position + 1 <= depth.last_venue_seq
                for side, levels in zip(sides, (depth.bids, depth.asks), strict=True):
                    for price, size in levels:
                        side.pop(price, None)
                        if size:
                            side[price] = size
            position = depth.last_venue_seq
        bids, asks = sides
        return sorted(bids.items(), reverse=True), sorted(asks.items())


@asynccontextmanager
async def simulated(
    venue: str,
    *symbols: str,
    world: dict[str, Any] | None = None,
    give_up: Callable[[str], None] | None = None,
    capture: Capture | None = None,
    **settings: Any,
) -> AsyncIterator[SimulatedRun]:
    """``world``: settings of the simulator; ``settings``: of the feed."""
    busy = replace(
        SimulatorSettings(), crypto_symbols=("BTCUSDT", "ETHUSDT"), book_levels=60, activity=4.0
    )
    simulator = replace(busy, **(world or {}))
    made = make_world(simulator, now_ns())
    server: Any = find_venue(venue)(made)
    port = await server.start("127.0.0.1", 0)
    stopping = asyncio.Event()

    def step(time_ns: int) -> None:
        for market in made.markets.values():
            market.step(time_ns)
        server.step(time_ns)

    clock = asyncio.ensure_future(advance(step, 0.02, stopping))
    tap, statuses = Tap(), Statuses()
    options = {
        "symbols": symbols or ("BTC-USD", "ETH-USD"),
        "retry_floor_s": 0.05,
        "retry_cap_s": 0.1,
        "messages_per_s": 100,
        **settings,
    }
    feed = make_feed(
        tap,
        statuses,
        FeedSettings(**options),
        name=venue,
        ws_base=f"ws://127.0.0.1:{port}",
        rest_base=f"http://127.0.0.1:{port}",
        give_up=give_up,
        capture=capture,
    )
    venue_feed: VenueFeed = importlib.import_module(f"bus.feeds.{venue}.venue").create(feed)
    task = asyncio.ensure_future(venue_feed.run())
    try:
        yield SimulatedRun(server, port, tap, statuses, feed, venue_feed)
    finally:
        feed.stopping.set()
        await asyncio.wait_for(task, 5)
        stopping.set()
        await clock
        await server.close()
