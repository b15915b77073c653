"""The simulator process: builds the venues, lets time run, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from bus.clock import now_ns
from bus.config import Settings
from bus.config.simulator import SimulatorSettings
from bus.runtime import Life, get_logger
from bus.simulator.binance import BinanceServer
from bus.simulator.finnhub import FinnhubServer
from bus.simulator.instruments import crypto_instrument, stock_instrument
from bus.simulator.listener import PortTaken
from bus.simulator.market import SymbolMarket
from bus.simulator.news import NewsDesk
from bus.simulator.playback import Playback, parse_speed
from bus.simulator.recording import Recording
from bus.simulator.stocks import StockMarket

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


def make_binance(settings: SimulatorSettings, markets: Mapping[str, SymbolMarket]) -> BinanceServer:
    """The Binance side as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    if settings.source == "market":
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


def make_finnhub(
    settings: SimulatorSettings, crypto: Mapping[str, SymbolMarket], at_ns: int
) -> FinnhubServer:
    """The Finnhub side as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    stocks = {
        symbol: StockMarket(
            stock_instrument(symbol), settings.seed, at_ns, activity=settings.activity
        )
        for symbol in settings.stock_symbols
    }
    companies = [(symbol, stock.instrument.description) for symbol, stock in stocks.items()]
    desk = NewsDesk(companies, settings.seed, at_ns, settings.news_interval_s)
    return FinnhubServer(settings, stocks, crypto, desk, now_ns)


async def body(life: Life, settings: Settings) -> None:
    """Serve until told to stop. A port that is taken ends the process with one line, exit 1."""
    own = settings.simulator
    at_ns = now_ns()
    markets = make_markets(own, at_ns) if own.source == "market" else {}
    binance = make_binance(own, markets)
    finnhub = make_finnhub(own, markets, at_ns)

    def step(time_ns: int) -> None:
        binance.step(time_ns)
        finnhub.step(time_ns)

    try:
        binance_port = await binance.start(own.host, own.binance_port)
        finnhub_port = await finnhub.start(own.host, own.finnhub_port)
        life.report = lambda: {**binance.figures(), **finnhub.figures()}
        life.ready(
            {
                "binance": f"http://{own.host}:{binance_port}",
                "finnhub": f"http://{own.host}:{finnhub_port}",
            }
        )
        await advance(step, own.step_ms / 1000, life.stopping)
    except PortTaken as error:
        life.fail(str(error))
    finally:
        await binance.close()
        await finnhub.close()
