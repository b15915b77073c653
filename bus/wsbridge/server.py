"""The bridge process: listens, counts, sweeps, drains.

Shell. Owns the listening socket, the upstream, the bridge and every connection. Its one periodic
task is :meth:`Server._turn`, 20 times a second: deadlines of connections and requests, and the
loop's own lag, measured by how late the turn comes (a helper thread would not notice a stuck loop).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import random
import socket
from collections.abc import Mapping
from typing import Any

from bus import __version__
from bus.client.deliveries import Delivery
from bus.clock import monotonic_ns, now_ns
from bus.config import Settings, load
from bus.config.bridge import BridgeSettings
from bus.errors import ConfigError
from bus.runtime import Life, get_logger
from bus.wsbridge.access.entrance import Entrance
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.connection import ClientConnection
from bus.wsbridge.http import Pages, Readiness
from bus.wsbridge.messages import CloseCode
from bus.wsbridge.pacing import Pacer
from bus.wsbridge.upstream import Upstream

_TURN_S = 0.05
_CLOSES_PER_TURN = 10
"""Connections closed per turn while draining: 200 a second."""
_BACKLOG = 1_024
_TURNS_PER_REVIEW = 2
_TURNS_PER_TEND = 20
_SLOW_HANDSHAKE_NS = 1_000_000_000

_log = get_logger("wsbridge.server")


class Server:
    """One bridge process. :meth:`start`, wait, :meth:`drain`, :meth:`close`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings: BridgeSettings = settings.bridge
        check_bind(self.settings)
        self.protocol_logger = logging.getLogger("bus.wsbridge.websockets")
        self.protocol_logger.setLevel(logging.ERROR)
        self.pages = Pages()
        self.upstream = Upstream(
            settings.endpoints.subscribe,
            receive_hwm=self.settings.receive_hwm,
            on_batch=self._on_batch,
        )
        self.bridge = Bridge(settings, name, self.upstream, __version__)
        self._pacer = Pacer(self.bridge)
        self.behind: dict[ClientConnection, None] = {}
        self.compresses = self.settings.compression == "on" or (
            self.settings.compression == "auto" and not is_loopback(self.settings.host)
        )
        self._all_settings = settings
        self._entrance: Entrance | None = None
        self.name = name
        self.is_draining = False
        self.requests_in = 0
        self.bytes_out = 0
        self.dropped_bytes = 0
        self.slow_closed = 0
        self.origins_refused = 0
        self.connections_refused = 0
        self.internal_errors = 0
        self._sockets: dict[ClientConnection, None] = {}
        self._clients: dict[ClientConnection, None] = {}
        self._shaking: dict[ClientConnection, None] = {}
        self._numbered: dict[int, ClientConnection] = {}
        self.handshakes_dropped = 0
        self._turns = 0
        self._listener: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn_due = 0.0
        self._worst_lag_s = 0.0
        self._all_left = asyncio.Event()
        self._all_left.set()

    async def take_settings(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The command ``settings``: read the file ``config`` again for feeds, symbols and aliases.

        Clients stay connected and may use the new names at once; everything else in the file
        takes a restart. Raises :class:`~bus.errors.ConfigError`, and then nothing has changed.
        """
        path = arguments.get("config")
        if not isinstance(path, str) or not path:
            raise ConfigError.of("config", "the command needs the path of a settings file")
        settings = await asyncio.to_thread(load, path)
        directory = self.bridge.directory
        self.bridge.take_settings(settings)
        _log.info("settings taken", symbols=len(directory.symbols), feeds=len(directory.feeds))
        return {"symbols": len(directory.symbols)}

    # ------------------------------------------------------------------ life

    async def start(self, listener: socket.socket | None = None) -> str:
        """Listen (on ``listener``, or on a socket of our own) and return the page's URL.

        Raises :class:`~bus.errors.ConfigError` when the address cannot be listened on.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._entrance = Entrance(self._all_settings, self.bridge.limits, self.name)
        sock = listener if listener is not None else _bind(self.settings)
        self._listener = await loop.create_server(
            lambda: ClientConnection(self), sock=sock, backlog=_BACKLOG
        )
        self.upstream.start()
        self.bridge.start()
        self._turn_due = loop.time() + _TURN_S
        self._timer = loop.call_at(self._turn_due, self._turn)
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}"

    async def drain(self) -> None:
        """Accept nobody any more, tell every client, serve on, and close them over ``drain_s``.

        At most 200 are closed a second, so that their return is no stampede: many clients take
        longer than ``drain_s``. A handshake that has begun comes to its end first.
        """
        self.is_draining = True
        if self._listener is not None:
            self._listener.close()
        for client in list(self._clients):
            self._announce_drain(client)
        for other in [c for c in self._shaking if not c.has_begun]:
            other.leave_quietly()
        assert self._loop is not None, "drain comes after start"
        end = self._loop.time() + self.settings.drain_s
        while self._clients or self._shaking:
            turns_left = max((end - self._loop.time()) / _TURN_S, 1)
            share = min(_CLOSES_PER_TURN, math.ceil(len(self._clients) / turns_left))
            for client in list(self._clients)[:share]:
                retry_ms = random.randint(0, self._drain_ms)
                client.close(CloseCode.DRAINING, retry_after_ms=retry_ms)
            await asyncio.sleep(_TURN_S)
        try:
            await asyncio.wait_for(self._all_left.wait(), self.settings.close_timeout_s)
        except TimeoutError:
            _log.warning("clients did not answer the close", clients=len(self._sockets))

    @property
    def _drain_ms(self) -> int:
        return int(self.settings.drain_s * 1000)

    def _announce_drain(self, client: ClientConnection) -> None:
        client.announce_drain(random.randint(0, self._drain_ms), self._drain_ms)

    async def close(self) -> None:
        """Cut off whoever is left and free everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._pacer.close()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._sockets):
            connection.abort()
        if self._sockets:
            await self._all_left.wait()
        if self._entrance is not None:
            self._entrance.close()
        self.upstream.close()

    # ------------------------------------------------------------------ connections

    @property
    def entrance(self) -> Entrance:
        """Who is let in; there from :meth:`start` on."""
        assert self._entrance is not None, "there is an entrance once the server has started"
        return self._entrance

    @property
    def readiness(self) -> Readiness:
        """Whether new clients are taken, and whether there is a bus to serve them from."""
        return Readiness(not self.is_draining, self.upstream.is_connected)

    @property
    def is_full(self) -> bool:
        """Whether no further client fits."""
        return len(self._clients) >= self.settings.max_connections

    @property
    def client_count(self) -> int:
        """WebSocket clients connected now."""
        return len(self._clients)

    def connected(self, connection: ClientConnection) -> None:
        """A TCP connection was accepted."""
        self._sockets[connection] = None
        self._shaking[connection] = None
        self._all_left.clear()
        if len(self._shaking) > self.settings.limits.max_handshakes:
            self._drop_slow_handshakes()

    def shaken(self, connection: ClientConnection) -> None:
        """Its HTTP request is complete. Idempotent."""
        self._shaking.pop(connection, None)

    def joined(self, connection: ClientConnection) -> None:
        """It has become a WebSocket client."""
        self._clients[connection] = None
        if connection.visit.number is not None:
            self._numbered[connection.visit.number] = connection

    def opened(self, connection: ClientConnection) -> None:
        """It has been greeted. Who came in while we drain is told so at once."""
        if self.is_draining:
            self._announce_drain(connection)

    def left(self, connection: ClientConnection) -> None:
        """It is no client any more, though its socket may not be closed yet. Idempotent."""
        if self._clients.pop(connection, connection) is None:
            self.bridge.gone(connection, now_ns())
            self._pacer.discard(connection)
            if connection.visit.number is not None:
                self._numbered.pop(connection.visit.number, None)
            connection.visit.leave()

    def disconnected(self, connection: ClientConnection) -> None:
        """Its socket is closed."""
        self.left(connection)
        self.shaken(connection)
        self.behind.pop(connection, None)
        self._sockets.pop(connection, None)
        if not self._sockets:
            self._all_left.set()

    # ------------------------------------------------------------------ the loop

    def _on_batch(self, deliveries: list[Delivery]) -> None:
        self.bridge.batch(deliveries, now_ns())
        self._pacer.see_to_due()

    def pump(self, connection: ClientConnection) -> None:
        """Something waits for this client, and its socket takes it."""
        self._pacer.pump(connection)

    def _turn(self) -> None:
        assert self._loop is not None, "turns begin with start"
        late_s = self._loop.time() - self._turn_due
        self._worst_lag_s = max(self._worst_lag_s, late_s)
        self._turn_due = self._loop.time() + _TURN_S
        self._timer = self._loop.call_at(self._turn_due, self._turn)
        wall = now_ns()
        self.bridge.sweep(wall)
        self._pacer.see_to_due()
        now = monotonic_ns()
        for slow in list(self.behind):
            slow.review(now, wall)
        for connection in [c for c in self._sockets if c.deadline_ns <= now]:
            if connection in self._shaking:
                self.handshakes_dropped += 1
            connection.overdue()
        self._turns += 1
        self._turn_visits(now_ns())

    def _turn_visits(self, now: int) -> None:
        """Who has to go: by time, for a newer connection of his, by an operator's word."""
        for number, code in self.entrance.ending():
            replaced = self._numbered.get(number)
            if replaced is not None:
                replaced.close(code)
        if self._turns % _TURNS_PER_REVIEW == 0:
            for client in [c for c in self._clients if c.visit.tenure.next_ns <= now]:
                client.say(client.visit.due(now))
        if self._turns % _TURNS_PER_TEND == 0 and self.entrance.tend(now):
            for client in [c for c in self._clients if self.entrance.is_denied(c.visit)]:
                client.close(CloseCode.UNAUTHORIZED)

    def _drop_slow_handshakes(self) -> None:
        """Too many at once: those that have taken longest make room, unless they are quick ones.

        A real client's request comes with its first packet, so whoever has not sent it after
        a second is not held up by our own queue.
        """
        surplus = len(self._shaking) - self.settings.limits.max_handshakes
        now = monotonic_ns()
        for connection in list(self._shaking)[:surplus]:
            if now - connection.since_ns < _SLOW_HANDSHAKE_NS:
                break  # the rest is younger still
            self.handshakes_dropped += 1
            connection.refuse_handshake()

    def report(self) -> dict[str, int | float | str]:
        """The figures of every heartbeat; ``loop_lag_ms`` is the worst since the last one."""
        lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
        fanout = self.bridge.fanout
        inbox = self.upstream.stats()
        return {
            "clients": len(self._clients),
            "connections": len(self._sockets),
            "messages_in": inbox.messages,
            "messages_out": fanout.messages_out,
            "bytes_out": self.bytes_out,
            "requests_in": self.requests_in,
            "drops": inbox.lost + fanout.malformed,
            "dropped_bytes": self.dropped_bytes,
            "slow_closed": self.slow_closed,
            "origins_refused": self.origins_refused,
            "connections_refused": self.connections_refused,
            "handshakes_dropped": self.handshakes_dropped,
            "internal_errors": self.internal_errors,
            "bus_topics": self.bridge.subscriptions.bus_topic_count,
            "channels": self.bridge.subscriptions.channel_count,
            "bus_connected": int(self.upstream.is_connected),
            "bus_repairs": inbox.repairs,
            "bus_gaps": inbox.gaps,
            "loop_lag_ms": round(lag_s * 1000, 2),
        }


def check_bind(settings: BridgeSettings) -> None:
    """Refuse to listen off loopback unless that was asked for outright.

    Raises :class:`~bus.errors.ConfigError`.
    """
    if settings.auth in ("jwt", "none") or is_loopback(settings.host):
        return
    raise ConfigError.of(
        "bridge.host",
        f"{settings.host!r} is reachable from other machines, and there is no authentication",
        hint='listen on 127.0.0.1, set bridge.auth = "jwt" and a key, or bridge.auth = "none" to '
        "serve everybody",
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(settings: BridgeSettings) -> socket.socket:
    """A socket of our own on the configured address, shareable with other workers."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ConfigError.of(
            "bridge.host", f"{settings.host!r} is not an address of this machine"
        ) from None
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _bind_error(settings, error) from None
    return sock


def _bind_error(settings: BridgeSettings, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError.of(
            "bridge.port",
            f"port {settings.port} on {settings.host} is in use by another program",
            hint="stop it, or choose another port: bridge.port=8001",
        )
    if error.errno == errno.EACCES:
        return ConfigError.of("bridge.port", f"port {settings.port} needs more privileges")
    return ConfigError.of("bridge.host", f"cannot listen on {settings.host}: {error.strerror}")


async def body(life: Life, settings: Settings) -> None:
    """The bridge process from start to end."""
    server = Server(settings, life.name)
    try:
        url = await server.start(life.listen_socket())
        life.report = server.report
        life.handle("settings", server.take_settings)
        life.ready({"http": url})
        await life.stopping.wait()
        await server.drain()
    finally:
        await server.close()
