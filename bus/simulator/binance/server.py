"""The simulated Binance: one TCP port for WebSocket streams, REST and the control endpoint.

Owns the listening socket and the connections; what is said comes from ``streams`` (seeded market)
or ``playback`` (recording), what is answered from ``session`` and ``rest``. REST goes through the
WebSocket library's own request hook, so each answer ends its connection.

Limits, all counted: clients (HTTP 503 beyond), bytes queued for one client (cut off), five frames
a second from a client (close 1008), 1,024 streams a connection, 24 h of life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bus.config.simulator import SimulatorSettings
from bus.runtime import get_logger
from bus.simulator.binance.messages import VenueTime, server_shutdown, wrapped
from bus.simulator.binance.playback import Playback, parse_speed
from bus.simulator.binance.recording import Recording
from bus.simulator.binance.rest import (
    BinanceRest,
    Refused,
    depth_limit,
    refusal,
    stamp_for,
    trades_limit,
)
from bus.simulator.binance.session import POLICY_VIOLATION, Reply, Session
from bus.simulator.binance.streams import Hub, MarketStreams
from bus.simulator.clients import Client, Traffic, WatchedConnection
from bus.simulator.control import Control
from bus.simulator.faults import Faults
from bus.simulator.http_reply import HttpReply, Target, reply, to_response
from bus.simulator.instruments import CryptoInstrument, crypto_instrument
from bus.simulator.listener import Listener
from bus.simulator.market import SymbolMarket
from bus.simulator.venue import World

_log = get_logger("simulator.binance")

TIME_UNITS = {
    "": False,
    "MILLISECOND": False,
    "millisecond": False,
    "MICROSECOND": True,
    "microsecond": True,
}


class BinanceServer:
    """Made with what it serves; :meth:`start` it, call :meth:`step` regularly, :meth:`close` it.

    With a ``playback`` the recording takes the place of the markets' streams and depth.
    """

    own_faults: frozenset[str] = frozenset({"drop_trade"})

    def __init__(
        self,
        settings: SimulatorSettings,
        listed: Mapping[str, CryptoInstrument],
        markets: Mapping[str, SymbolMarket],
        clock: Callable[[], int],
        playback: Playback | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._playback = playback
        self.symbols = tuple(listed)
        self.faults = playback.faults if playback is not None else Faults()
        self.traffic = Traffic()
        self.hub = Hub(self.faults)
        self.clients: dict[Client, Session] = {}
        self._streams = MarketStreams(markets.values(), self.hub)
        self._rest = BinanceRest(listed, markets, settings.weight_per_min)
        self._control = Control(self, clock)
        self._listener = Listener(self._on_connection, self._on_request)

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use (``port`` 0 takes any). Raises :class:`PortTaken`."""
        return await self._listener.start(
            host,
            port,
            "simulator.ports.binance",
            ping_interval_s=self._settings.ping_interval_s,
            pong_timeout_s=self._settings.pong_timeout_s,
        )

    def step(self, now_ns: int) -> None:
        """Move the seeded market on and publish; does nothing in a playback."""
        if self._playback is None:
            self._streams.step(now_ns)

    async def close(self) -> None:
        """Stop listening and close every connection with 1001."""
        if self._playback is not None:
            await self._playback.close()
        await self._listener.close()

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat."""
        figures = self.traffic.figures("binance")
        figures["binance_streams"] = self.hub.stream_count
        figures["binance_queued_bytes"] = sum(client.queued_bytes for client in self.clients)
        figures["binance_faults"] = sum(self.faults.happened.values())
        if self._playback is not None:
            figures |= self._playback.figures()
        return figures

    # What the control endpoint uses

    def playback_state(self) -> dict[str, object] | None:
        """How far each client's playback is, or ``None`` without a recording."""
        return self._playback.state() if self._playback is not None else None

    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """A message for a fault, in the form the client is used to."""
        combined = self.clients[client].combined
        if kind == "server_shutdown":
            return server_shutdown(now_ns, VenueTime(skew_ns=self.faults.skew_ns), combined)
        if kind == "garbage":
            return b'{"stream":"btcusdt@trade","data":{"e":"trade","E":17,' + b"\xc2\xa7"
        now_ms = now_ns // 1_000_000
        payload = b'{"e":"simulatedNovelty","E":%d,"pad":"%b"}'
        stream = "!simulatedNovelty"
        empty = payload % (now_ms, b"")
        empty = wrapped(stream, empty) if combined else empty
        pad = b"x" * (size - len(empty)) if kind == "big_frame" else b""
        message = payload % (now_ms, pad)
        return wrapped(stream, message) if combined else message

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, or to the server's close."""
        self._listener.spawn(work)

    # HTTP

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = Target.parse(request.path)
        path = target.path
        if path in ("/ws", "/stream", "/ws/") or path.startswith("/ws/"):
            return self._refuse_websocket(target)
        self.traffic.requests += 1
        peer = str(connection.remote_address[0])
        if path.startswith("/_sim/"):
            return to_response(self._control.answer(target, peer, request.headers))
        if request.method != "GET":
            return to_response(reply({"code": -1000, "msg": "Only GET is served here."}, 405))
        answer = await self._answer_rest(target, peer, request.headers.get("X-MBX-TIME-UNIT"))
        return to_response(answer)

    def _refuse_websocket(self, target: Target) -> Response | None:
        if len(self.clients) >= self._settings.max_connections:
            self.traffic.refused_connections += 1
            return to_response(HttpReply(503, b'{"code":-1008,"msg":"Server is overloaded."}'))
        if target.query.get("timeUnit", "") not in TIME_UNITS:
            return to_response(Refused(-1100, "Illegal value of parameter 'timeUnit'.").reply())
        return None

    async def _answer_rest(self, target: Target, peer: str, unit: str | None) -> HttpReply:
        now_ns = self._clock()
        refused = self.faults.rest_refusal(now_ns)
        if refused is not None:
            status, wait_s = refused
            return refusal(status, wait_s, now_ns // 1_000_000 + wait_s * 1_000)
        admitted, is_admitted = self._rest.admit(target.path, target.query, peer, now_ns)
        if not is_admitted:
            return admitted
        stamp = stamp_for(unit, self.faults.skew_ns)
        if target.path == "/api/v3/depth":
            answer = await self._answer_depth(target, now_ns, unit)
        elif target.path == "/api/v3/trades" and self._playback is not None:
            answer = await self._replay_trades(self._playback, target, stamp)
        else:
            answer = self._rest.answer(target.path, target.query, now_ns, stamp)
        return HttpReply(answer.status, answer.body, {**admitted.headers, **answer.headers})

    async def _replay_trades(
        self, playback: Playback, target: Target, stamp: VenueTime
    ) -> HttpReply:
        try:
            symbol, limit = self._rest.symbol_of(target.query), trades_limit(target.query)
        except Refused as refused:
            return refused.reply()
        return await playback.trades(symbol, limit, stamp)

    async def _answer_depth(self, target: Target, now_ns: int, unit: str | None) -> HttpReply:
        if self._playback is None:
            stamp = stamp_for(unit, self.faults.skew_ns)
            answer = self._rest.answer(target.path, target.query, now_ns, stamp)
        else:
            try:
                self._rest.symbol_of(target.query)
                limit = depth_limit(target.query)
            except Refused as refused:
                return refused.reply()
            answer = await self._playback.depth(limit)
        if self.faults.depth_delay_s:
            # The book is the one of the moment the request came in: a delayed reply is an old one.
            self.faults.happened["depth_delay"] += 1
            await asyncio.sleep(self.faults.depth_delay_s)
        return answer

    # WebSocket

    async def _on_connection(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert isinstance(connection, WatchedConnection)
        target = Target.parse(connection.request.path)
        client = Client(connection, self._settings.client_buffer_bytes, self.traffic)
        session = Session(
            combined=target.path == "/stream",
            microseconds=TIME_UNITS[target.query.get("timeUnit", "")],
        )
        self.clients[client] = session
        self.traffic.connections = len(self.clients)
        self.traffic.connections_total += 1
        connection.on_frame = lambda: self._count_frame(client, session)
        try:
            async with asyncio.timeout(self._settings.max_connection_s):
                await self._converse(client, session, target)
        except TimeoutError:
            await client.close(1001, "24 hours are over")
        except ConnectionClosed:
            pass  # said by the client or the network: there is nobody left to tell
        finally:
            self._change(client, session, (), tuple(session.streams))
            del self.clients[client]
            self.traffic.connections = len(self.clients)
            if self._playback is not None:
                await self._playback.leave(client)

    async def _converse(self, client: Client, session: Session, target: Target) -> None:
        in_path = unquote(target.path[4:])
        names = target.query.get("streams", "") if session.combined else in_path
        try:
            added = session.open(names.split("/"))
        except ValueError:
            await client.close(POLICY_VIOLATION, "Invalid request")
            return
        self._change(client, session, added, ())
        async for message in client.connection:
            self.traffic.messages_in += 1
            was_combined = session.combined
            answer = session.receive(message)
            client.push(answer.message)
            if session.combined != was_combined:
                self._change(client, session, tuple(session.streams), tuple(session.streams))
            self._heed(client, session, answer)
            if answer.close is not None:
                await client.close(*answer.close)

    def _heed(self, client: Client, session: Session, answer: Reply) -> None:
        if answer.added or answer.removed:
            self._change(client, session, answer.added, answer.removed)

    def _change(
        self, client: Client, session: Session, added: tuple[str, ...], removed: tuple[str, ...]
    ) -> None:
        if self._playback is not None:
            if added and client in self.clients:
                self._playback.join(client, session)
            return
        self.hub.unsubscribe(client, removed)
        self.hub.subscribe(client, (session.combined, session.microseconds), added)

    def _count_frame(self, client: Client, session: Session) -> None:
        if client.is_open and not session.count_frame(self._clock()):
            self.traffic.flood_clients += 1
            self.spawn(client.close(POLICY_VIOLATION, "Too many requests"))


def create(world: World) -> BinanceServer:
    """The venue as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    settings = world.settings
    if settings.source == "market":
        listed = {symbol: market.instrument for symbol, market in world.markets.items()}
        return BinanceServer(settings, listed, world.markets, world.clock)
    recording = Recording.open(settings.playback_files)
    playback = Playback(
        recording,
        speed=parse_speed(settings.playback_speed),
        end=settings.playback_end,
        snapshot=settings.playback_snapshot,
        clock=world.clock,
    )
    _log.info("recording", lines=recording.total, streams=",".join(recording.streams))
    listed = {symbol: crypto_instrument(symbol) for symbol in recording.symbols}
    return BinanceServer(settings, listed, {}, world.clock, playback)
