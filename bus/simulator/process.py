"""The simulator process: builds the venues, lets time run, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.clock import now_ns
from bus.config import Settings
from bus.config.simulator import SimulatorSettings
from bus.runtime import Life, get_logger
from bus.simulator.binance import BinanceServer, PortTaken
from bus.simulator.instruments import crypto_instrument
from bus.simulator.market import SymbolMarket
from bus.simulator.playback import Playback, parse_speed
from bus.simulator.recording import Recording

_log = get_logger("simulator.process")


def make_markets(settings: SimulatorSettings, at_ns: int) -> dict[str, SymbolMarket]:
    """The seeded markets by Binance symbol. Raises :class:`bus.errors.ConfigError`."""
    return {
        symbol: SymbolMarket(
            crypto_instrument(symbol),
            settings.seed,
            at_ns,
            levels=settings.book_levels,
            activity=settings.activity,
        )
        for symbol in settings.crypto_symbols
    }


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


def make_binance(settings: SimulatorSettings, at_ns: int) -> BinanceServer:
    """The Binance side as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    if settings.source == "market":
        markets = make_markets(settings, at_ns)
        listed = {symbol: market.instrument for symbol, market in markets.items()}
        return BinanceServer(settings, listed, markets, now_ns)
    recording = Recording.open(settings.playback_files)
    playback = Playback(
        recording,
        speed=parse_speed(settings.playback_speed),
        end=settings.playback_end,
        snapshot=settings.playback_snapshot,
        clock=now_ns,
    )
    _log.info("recording", lines=recording.total, streams=",".join(recording.streams))
    listed = {symbol: crypto_instrument(symbol) for symbol in recording.symbols}
    return BinanceServer(settings, listed, {}, now_ns, playback)


async def body(life: Life, settings: Settings) -> None:
    """Serve until told to stop. A port that is taken ends the process with one line, exit 1."""
    own = settings.simulator
    binance = make_binance(own, now_ns())
    try:
        binance_port = await binance.start(own.host, own.binance_port)
    except PortTaken as error:
        life.fail(str(error))
        return
    life.report = binance.figures
    life.ready({"binance": f"http://{own.host}:{binance_port}"})
    try:
        await advance(binance.step, own.step_ms / 1000, life.stopping)
    finally:
        await binance.close()
