"""The simulated Finnhub: one TCP port for WebSocket, REST (``/api/v1``) and the control endpoint.

Owns the connections; what is said comes from ``streams`` and ``news``, what is answered from
``session`` and ``rest``. A key may have one connection: a second one with the same key drops both,
as observed at the venue.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bus.config.simulator import SimulatorSettings
from bus.simulator.clients import Client, Traffic
from bus.simulator.control import Control
from bus.simulator.faults import Faults
from bus.simulator.finnhub.news import NewsDesk
from bus.simulator.finnhub.rest import INVALID_KEY, LIMIT_REACHED, FinnhubRest
from bus.simulator.finnhub.session import PING, Session
from bus.simulator.finnhub.stocks import Print, StockMarket
from bus.simulator.finnhub.streams import (
    RELEASE_EVERY,
    PrintStream,
    news_frame,
    print_json,
    release_frame,
    trade_frame,
)
from bus.simulator.http_reply import HttpReply, Target, reply, to_response
from bus.simulator.instruments import stock_instrument
from bus.simulator.listener import Listener
from bus.simulator.market import SymbolMarket
from bus.simulator.venue import World

NEWS_STREAM = "news"
PING_STREAM = "ping"


class FinnhubServer:
    """Made with what it serves; :meth:`start` it, call :meth:`step` regularly, :meth:`close` it.

    ``crypto`` markets are moved on by somebody else; here they are only read.
    """

    symbols: tuple[str, ...] = ()
    """Symbols with diffs: Finnhub has no books."""
    own_faults: frozenset[str] = frozenset()

    def __init__(
        self,
        settings: SimulatorSettings,
        stocks: Mapping[str, StockMarket],
        crypto: Mapping[str, SymbolMarket],
        desk: NewsDesk,
        clock: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._desk = desk
        self.faults = Faults()
        self.traffic = Traffic()
        self.clients: dict[Client, Session] = {}
        self._by_token: dict[str, Client] = {}
        self._next_ping_ns: dict[Client, int] = {}
        self._prints = PrintStream(stocks, crypto, self.faults)
        self._rest = FinnhubRest(stocks, crypto, desk, calls_per_min=settings.finnhub_calls_per_min)
        self._control = Control(self, clock)
        self._listener = Listener(self._on_connection, self._on_request)

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use (``port`` 0 takes any). Raises :class:`PortTaken`."""
        return await self._listener.start(host, port, "simulator.ports.finnhub")

    def step(self, now_ns: int) -> None:
        """Move stocks and news on and send what is due."""
        wanted: set[str] = set()
        for session in self.clients.values():
            wanted |= session.trades
        prints = self._prints.step(now_ns, wanted)
        if prints:
            self._send_prints(prints)
        for item in self._desk.step(now_ns):
            if self.faults.is_silent(NEWS_STREAM, now_ns):
                continue
            for client, session in list(self.clients.items()):
                if item.related in session.news:
                    client.push(news_frame([item]))
                if item.id % RELEASE_EVERY == 0 and item.related in session.releases:
                    client.push(release_frame(item))
        for client, due_ns in list(self._next_ping_ns.items()):
            if now_ns >= due_ns:
                self._next_ping_ns[client] = now_ns + self._ping_ns
                if not self.faults.is_silent(PING_STREAM, now_ns):
                    client.push(PING)

    async def close(self) -> None:
        """Stop listening and close every connection with 1001."""
        await self._listener.close()

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat."""
        figures = self.traffic.figures("finnhub")
        figures["finnhub_queued_bytes"] = sum(client.queued_bytes for client in self.clients)
        figures["finnhub_faults"] = sum(self.faults.happened.values())
        return figures

    @property
    def _ping_ns(self) -> int:
        return int(self._settings.finnhub_ping_s * 1e9)

    def _send_prints(self, prints: list[Print]) -> None:
        skew_ms = self.faults.skew_ns // 1_000_000
        rows = [(item.symbol, print_json(item, skew_ms)) for item in prints]
        frames: dict[frozenset[str], bytes] = {}
        for client, session in list(self.clients.items()):
            taken = frozenset(session.trades)
            frame = frames.get(taken)
            if frame is None:
                mine = [row for symbol, row in rows if symbol in taken]
                frame = frames[taken] = trade_frame(mine) if mine else b""
            if frame:
                client.push(frame)

    # What the control endpoint uses

    def playback_state(self) -> dict[str, object] | None:
        """Finnhub plays no recording."""
        return None

    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """A message for a fault, or ``None`` where this venue has no such thing."""
        if kind == "garbage":
            return b'{"data":[{"p":17.5,"s":"AAPL","t":'
        if kind == "unknown_event":
            return b'{"data":[{"t":%d}],"type":"simulatedNovelty"}' % (now_ns // 1_000_000)
        if kind == "big_frame":
            shell = b'{"data":[],"pad":"%b","type":"trade"}'
            return shell % (b"x" * (size - len(shell) + 2))
        return None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, or to the server's close."""
        self._listener.spawn(work)

    # HTTP

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = Target.parse(request.path)
        if target.path.startswith("/_sim/"):
            self.traffic.requests += 1
            peer = str(connection.remote_address[0])
            return to_response(self._control.answer(target, peer, request.headers))
        token = target.query.get("token") or request.headers.get("X-Finnhub-Token") or ""
        if target.path in ("", "/") and "Upgrade" in request.headers:
            if not self._accepts(token):
                return to_response(reply(INVALID_KEY, 401))
            if len(self.clients) >= self._settings.max_connections:
                self.traffic.refused_connections += 1
                return to_response(reply({"error": "Too many connections."}, 503))
            return None
        self.traffic.requests += 1
        if request.method != "GET":
            return to_response(reply({"error": "Only GET is served here."}, 405))
        return to_response(self._answer_rest(target, token))

    def _answer_rest(self, target: Target, token: str) -> HttpReply:
        now_ns = self._clock()
        refused = self.faults.rest_refusal(now_ns)
        if refused is not None:
            status, wait_s = refused
            return reply(LIMIT_REACHED, status).with_headers(Retry_After=str(wait_s))
        if not self._accepts(token):
            return reply(INVALID_KEY, 401)
        shown_ns = now_ns + self.faults.skew_ns
        return self._rest.answer(target.path, target.query, token, shown_ns)

    def _accepts(self, token: str) -> bool:
        wanted = self._settings.finnhub_token
        if not wanted:
            return bool(token)
        return hmac.compare_digest(token.encode(), wanted.encode())

    # WebSocket

    async def _on_connection(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        target = Target.parse(connection.request.path)
        token = target.query.get("token") or connection.request.headers.get("X-Finnhub-Token", "")
        client = Client(connection, self._settings.client_buffer_bytes, self.traffic)
        self.traffic.connections_total += 1
        other = self._by_token.get(token)
        if other is not None and other.is_open:
            self.traffic.refused_connections += 1
            other.abort()
            client.abort()
            return
        session = Session(self._settings.finnhub_max_symbols)
        self._by_token[token] = client
        self.clients[client] = session
        self._next_ping_ns[client] = self._clock() + self._ping_ns
        self.traffic.connections = len(self.clients)
        try:
            async for message in connection:
                self.traffic.messages_in += 1
                error = session.receive(message)
                if error is not None:
                    client.push(error)
        except ConnectionClosed:
            pass  # said by the client or the network: there is nobody left to tell
        finally:
            del self.clients[client], self._next_ping_ns[client]
            if self._by_token.get(token) is client:
                del self._by_token[token]
            self.traffic.connections = len(self.clients)


def create(world: World) -> FinnhubServer:
    """The venue as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    settings = world.settings
    stocks = {
        symbol: StockMarket(
            stock_instrument(symbol), settings.seed, world.at_ns, activity=settings.activity
        )
        for symbol in settings.stock_symbols
    }
    companies = [(symbol, stock.instrument.description) for symbol, stock in stocks.items()]
    desk = NewsDesk(companies, settings.seed, world.at_ns, settings.news_interval_s)
    return FinnhubServer(settings, stocks, world.markets, desk, world.clock)
