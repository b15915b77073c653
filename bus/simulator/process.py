"""The simulator process: builds the venues, lets time run, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.clock import now_ns
from bus.config import Settings
from bus.config.simulator import SimulatorSettings
from bus.errors import ConfigError
from bus.runtime import Life
from bus.simulator.captured import Captures, are_captures
from bus.simulator.instruments import crypto_instrument
from bus.simulator.listener import PortTaken
from bus.simulator.market import SymbolMarket
from bus.simulator.replay_server import ReplayServer
from bus.simulator.venue import VenueServer, World, find_venue


def make_world(settings: SimulatorSettings, at_ns: int) -> World:
    """Settings, clock and the leading markets. Raises :class:`bus.errors.ConfigError`."""
    markets = {
        symbol: SymbolMarket(
            crypto_instrument(symbol),
            settings.seed,
            at_ns,
            levels=settings.book_levels,
            activity=settings.activity,
        )
        for symbol in (settings.crypto_symbols if settings.source == "market" else ())
    }
    return World(settings, now_ns, at_ns, markets)


def make_venues(settings: Settings, at_ns: int) -> tuple[World, dict[str, VenueServer]]:
    """The world, and the venues whose feeds are enabled: simulated, or played from captures.

    Raises :class:`bus.errors.ConfigError`.
    """
    own = settings.simulator
    names = list(settings.simulated_ports)
    venues: dict[str, VenueServer]
    if own.source == "playback" and are_captures(own.playback_files):
        captures = {venue: Captures.open(own.playback_files, venue) for venue in names}
        if not any(found.heads for found in captures.values()):
            raise ConfigError.of(
                "simulator.playback_files",
                "none of the captures is of a venue whose feed is enabled",
                hint=f"enabled: {', '.join(names) or 'none'}",
            )
        venues = {venue: ReplayServer(venue, own, found) for venue, found in captures.items()}
        return World(own, now_ns, at_ns, {}), venues
    creators = {venue: find_venue(venue) for venue in names}
    world = make_world(own, at_ns)
    venues = {venue: create(world) for venue, create in creators.items()}
    return world, venues


async def advance(step: Callable[[int], None], step_s: float, stopping: asyncio.Event) -> None:
    """Call ``step`` with the wall clock every ``step_s`` until stopped.

    Steps that fall behind are left out, never made up for: the market catches up in one.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while not stopping.is_set():
        step(now_ns())
        due_s = max(due_s + step_s, loop.time())
        await asyncio.sleep(due_s - loop.time())


async def body(life: Life, settings: Settings) -> None:
    """Serve until told to stop. A port that is taken ends the process with one line, exit 1."""
    own = settings.simulator
    world, venues = make_venues(settings, now_ns())

    def step(time_ns: int) -> None:
        for market in world.markets.values():
            market.step(time_ns)
        for venue in venues.values():
            venue.step(time_ns)

    def report() -> dict[str, int | float | str]:
        return {name: value for venue in venues.values() for name, value in venue.figures().items()}

    try:
        urls = {}
        for name, venue in venues.items():
            port = await venue.start(own.host, settings.simulated_ports[name])
            urls[name] = f"http://{own.host}:{port}"
        life.report = report
        life.ready(urls)
        await advance(step, own.step_ms / 1000, life.stopping)
    except PortTaken as error:
        life.fail(str(error))
    finally:
        for venue in venues.values():
            await venue.close()
