"""A venue of the simulator inside the test's own loop, its time moved by hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from bus.config.simulator import SimulatorSettings
from bus.simulator.binance.playback import Playback
from bus.simulator.binance.server import BinanceServer
from bus.simulator.coinbase.server import CoinbaseServer
from bus.simulator.coinbase.server import create as create_coinbase
from bus.simulator.finnhub.news import NewsDesk
from bus.simulator.finnhub.server import FinnhubServer
from bus.simulator.finnhub.stocks import StockMarket
from bus.simulator.instruments import crypto_instrument, stock_instrument
from bus.simulator.kraken.server import KrakenServer
from bus.simulator.kraken.server import create as create_kraken
from bus.simulator.market import SymbolMarket
from bus.simulator.venue import World

START_NS = 1_723_161_253_000_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
STOCKS = ("AAPL", "MSFT")


@dataclass
class ManualClock:
    """A clock that moves when told to."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> int:
        self.now_ns += int(seconds * 1e9)
        return self.now_ns


@dataclass
class SimulatedVenue:
    """A listening server, its clock, and where to find it."""

    server: BinanceServer | FinnhubServer | CoinbaseServer | KrakenServer
    clock: ManualClock
    port: int
    markets: dict[str, SymbolMarket] = field(default_factory=dict)

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, seconds: float, step_s: float = 0.02) -> None:
        """Let the venue live through some of its time, at once."""
        for _ in range(round(seconds / step_s)):
            self.server.step(self.clock.advance(step_s))

    def connect(self, path: str = "/stream") -> connect:
        """A client that reads as fast as it can, so that its own close is never stuck."""
        return connect(
            f"{self.ws}{path}",
            max_size=None,
            max_queue=None,
            compression=None,
            ping_interval=None,
        )

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.http, timeout=20) as client:
            return await client.get(path, headers=headers)

    async def fault(self, kind: str, **parameters: object) -> dict[str, Any]:
        query = {"kind": kind, **{name: str(value) for name, value in parameters.items()}}
        async with httpx.AsyncClient(base_url=self.http, timeout=20) as client:
            answer = await client.get("/_sim/fault", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


Serve = Callable[..., contextlib.AbstractAsyncContextManager[SimulatedVenue]]


@pytest.fixture
def binance() -> Serve:
    """``async with binance(setting=…) as venue``: a Binance with two seeded symbols, or with
    ``playback=`` a recording."""

    @contextlib.asynccontextmanager
    async def serve(
        playback: Playback | None = None, **changes: Any
    ) -> AsyncIterator[SimulatedVenue]:
        settings = replace(SimulatorSettings(), **changes)
        clock = ManualClock()
        if playback is None:
            markets = {
                name: SymbolMarket(crypto_instrument(name), settings.seed, clock.now_ns, levels=200)
                for name in SYMBOLS
            }
            listed = {name: market.instrument for name, market in markets.items()}
        else:
            markets = {}
            listed = {name: crypto_instrument(name) for name in playback.recording.symbols}
        server = BinanceServer(settings, listed, markets, clock, playback)
        port = await server.start("127.0.0.1", 0)
        try:
            yield SimulatedVenue(server, clock, port, markets)
        finally:
            await server.close()

    return serve


@pytest.fixture
def finnhub() -> Serve:
    """``async with finnhub(setting=…) as venue``: a Finnhub with two stocks and BTCUSDT."""

    @contextlib.asynccontextmanager
    async def serve(**changes: Any) -> AsyncIterator[SimulatedVenue]:
        settings = replace(SimulatorSettings(), **changes)
        clock = ManualClock()
        stocks = {
            name: StockMarket(stock_instrument(name), settings.seed, clock.now_ns)
            for name in STOCKS
        }
        crypto = {"BTCUSDT": SymbolMarket(crypto_instrument("BTCUSDT"), 1, clock.now_ns, levels=50)}
        companies = [(name, stock.instrument.description) for name, stock in stocks.items()]
        desk = NewsDesk(companies, settings.seed, clock.now_ns, settings.news_interval_s)
        server = FinnhubServer(settings, stocks, crypto, desk, clock)
        port = await server.start("127.0.0.1", 0)
        try:
            yield SimulatedVenue(server, clock, port, crypto)
        finally:
            await server.close()

    return serve


async def ask(socket: ClientConnection, **request: object) -> Any:
    """Send one control message and return the next message, decoded."""
    await socket.send(msgspec.json.encode(request).decode())
    return msgspec.json.decode(await socket.recv())


async def receive(socket: ClientConnection, count: int) -> list[Any]:
    """The next ``count`` messages, decoded."""
    return [msgspec.json.decode(await socket.recv()) for _ in range(count)]


@contextlib.asynccontextmanager
async def _serve_dollars(
    create: Callable[[World], CoinbaseServer | KrakenServer], **changes: Any
) -> AsyncIterator[SimulatedVenue]:
    settings = replace(SimulatorSettings(), crypto_symbols=SYMBOLS, book_levels=200)
    clock = ManualClock()
    server = create(World(replace(settings, **changes), clock, clock.now_ns, {}))
    port = await server.start("127.0.0.1", 0)
    markets = {symbol: one.market for symbol, one in server.streams.items()}
    try:
        yield SimulatedVenue(server, clock, port, markets)
    finally:
        await server.close()


@pytest.fixture
def coinbase() -> Serve:
    """``async with coinbase(setting=…) as venue``: a Coinbase with BTC-USD and ETH-USD."""
    return partial(_serve_dollars, create_coinbase)


@pytest.fixture
def kraken() -> Serve:
    """``async with kraken(setting=…) as venue``: a Kraken with BTC/USD and ETH/USD."""
    return partial(_serve_dollars, create_kraken)
