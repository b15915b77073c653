"""The bridge process: listens, counts, sweeps, drains.

Shell. Owns the listening socket, the upstream, the bridge and every connection. What has to be
looked at from time to time (deadlines of connections and requests, clients that are behind, visits
that end) are the jobs of its :class:`~bus.wsbridge.turns.Turns`, 20 times a second.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bus import __version__
from bus.client.deliveries import Delivery
from bus.clock import monotonic_ns, now_ns
from bus.config import Settings, load
from bus.config.bridge import BridgeSettings, is_loopback
from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.wsbridge.acceptor import Acceptor
from bus.wsbridge.access.entrance import Entrance
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.capacity import capacity_here
from bus.wsbridge.connection import ClientConnection
from bus.wsbridge.deadlines import Deadlines
from bus.wsbridge.direct_write import Descriptors
from bus.wsbridge.draining import BRIEF_S, Draining
from bus.wsbridge.garbage import Garbage
from bus.wsbridge.handshakes import Handshakes
from bus.wsbridge.http import Pages, Readiness
from bus.wsbridge.listening import bind, url_of
from bus.wsbridge.messages import CloseCode
from bus.wsbridge.pacing import Pacer
from bus.wsbridge.turns import TURN_S, Job, Turns
from bus.wsbridge.upstream import Upstream

_LATECOMERS_S = 1.0
"""How long a drain waits for handshakes on connections accepted before it began."""
_HANDFUL = 8
"""Connections that a job sees to before everybody else gets a turn: less than half a ms."""
_TURNS_PER_TEND = 20

_log = get_logger("wsbridge.server")


class Server:
    """One bridge process. :meth:`start`, wait, :meth:`drain`, :meth:`close`."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings: BridgeSettings = settings.bridge
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
        self.bridge.is_crowded = lambda: self._pacer.is_crowded
        self.behind: dict[ClientConnection, None] = {}
        self.capacity, direct = capacity_here(self.settings.max_connections)
        self.descriptors = Descriptors(direct)
        self.compresses = self.settings.compression == "on" or (
            self.settings.compression == "auto" and not is_loopback(self.settings.host)
        )
        self._all_settings = settings
        self._entrance: Entrance | None = None
        self.name = name
        self.is_draining = False
        self._draining: Draining[ClientConnection] | None = None
        self.requests_in = 0
        self.written_bytes = 0
        self.dropped_bytes = 0
        self.slow_closed = 0
        self.refused: Counter[str] = Counter()
        """Handshakes that were refused, by reason."""
        self.internal_errors = 0
        self.closes: Counter[int] = Counter()
        """Connections that were closed from here, by close code."""
        self._sockets: dict[ClientConnection, None] = {}
        self._clients: dict[ClientConnection, None] = {}
        self.handshakes: Handshakes[ClientConnection] = Handshakes(
            self.settings.limits.max_handshakes
        )
        self._numbered: dict[int, ClientConnection] = {}
        self.deadlines: Deadlines[ClientConnection] = Deadlines(
            monotonic_ns(), lambda connection: connection.deadline_ns
        )
        self.visits: Deadlines[ClientConnection] = Deadlines(
            now_ns(), lambda connection: connection.visit.tenure.next_ns
        )
        self.garbage = Garbage()
        self._faults = self.bridge.fanout.faults
        self._turns = Turns(
            [
                Job(self._sweep),
                Job(self._review_slow),
                Job(self._end_overdue),
                Job(self._end_replaced),
                Job(self._end_visits),
                Job(self._tend, every=_TURNS_PER_TEND),
            ],
            self._faults,
        )
        self._acceptor: Acceptor | None = None
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
        self._entrance = Entrance(self._all_settings, self.bridge.limits, self.name)
        sock = listener if listener is not None else bind(self.settings.host, self.settings.port)
        self._acceptor = Acceptor(sock, lambda: ClientConnection(self))
        self._acceptor.start()
        self.bridge.fanout.out.call_soon = asyncio.get_running_loop().call_soon
        self.upstream.start()
        self.bridge.start()
        self._turns.start()
        return url_of(sock)

    async def drain(self, is_brief: Callable[[], bool] = lambda: False) -> None:
        """Accept nobody any more, tell every client, serve on, and close them over ``drain_s``.

        Over a second at most from when ``is_brief`` says that nobody comes in our place.
        Who is closed when is :class:`~bus.wsbridge.draining.Draining`'s word; many clients take
        longer than ``drain_s``. A handshake that has begun comes to its end first, and a connection
        that was accepted before may begin one within a second: its client was let in by the port
        and is not turned away at the door.
        """
        self.is_draining = True
        assert self._acceptor is not None, "drain comes after start"
        self._acceptor.close()
        loop = asyncio.get_running_loop()
        brief_s, begun = min(BRIEF_S, self.settings.drain_s), loop.time()
        drain_s = brief_s if is_brief() else self.settings.drain_s
        self._draining = draining = Draining(self._clients, drain_s, begun)
        for client, notice in draining.notices.items():
            client.announce_drain(*notice)
        late_end = begun + min(_LATECOMERS_S, drain_s)
        while self._clients or self.handshakes or self._acceptor.has_pending:
            if loop.time() >= late_end:
                for other in [c for c in self.handshakes if not c.has_begun]:
                    other.leave_quietly()
            if drain_s > brief_s and is_brief():
                drain_s = brief_s
                self._draining = draining = Draining(self._clients, drain_s, loop.time())
            for client in draining.due(loop.time()):
                client.close(CloseCode.DRAINING, retry_after_ms=draining.return_ms)
            await asyncio.sleep(TURN_S)
        try:
            await asyncio.wait_for(self._all_left.wait(), self.settings.close_timeout_s)
        except TimeoutError:
            _log.warning("clients did not answer the close", clients=len(self._sockets))

    async def close(self) -> None:
        """Cut off whoever is left and free everything."""
        self._turns.close()
        self._pacer.close()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.settled()
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
        return len(self._clients) >= self.capacity

    @property
    def clients(self) -> list[ClientConnection]:
        """The WebSocket clients connected now."""
        return list(self._clients)

    @property
    def bytes_out(self) -> int:
        """Bytes of frames made here, to all clients there were."""
        return self.written_bytes + self.bridge.fanout.out.direct_bytes

    @property
    def connection_count(self) -> int:
        """TCP connections open now."""
        return len(self._sockets)

    @property
    def fault_count(self) -> int:
        """Faults of ours that cost a client its connection, or a turn one of its jobs."""
        return self.internal_errors + self._faults.count

    @property
    def worst_lag_s(self) -> float:
        """How late the loop was at worst since the last heartbeat."""
        return self._turns.worst_lag_s

    def kick(self, what: str, value: str) -> int:
        """Close the connections of a ``user`` or ``address``, or the one of an ``id``, with 4508.

        Users and addresses: of every worker of this host, as far as they are counted; how many.
        Raises LedgerError.
        """
        if what == "address":
            value = self.entrance.group_of(value)
        here = [client for client in self._clients if client.is_named(what, value)]
        elsewhere = 0
        if what != "id":
            counted = sum(1 for client in here if client.visit.number is not None)
            elsewhere = self.entrance.ledger.kick(**{what: value}) - counted
        for client in here:
            client.close(CloseCode.KICKED)
        return len(here) + max(0, elsewhere)

    def reload(self) -> None:
        """Read keys and deny list again; who is on the list now has to go."""
        if self.entrance.gate is not None:
            self.entrance.gate.reload()
            self._drop_denied()

    @property
    def client_count(self) -> int:
        """WebSocket clients connected now."""
        return len(self._clients)

    def connected(self, connection: ClientConnection) -> None:
        """A TCP connection was accepted."""
        self._sockets[connection] = None
        self.deadlines.watch(connection)
        self._all_left.clear()
        slow = self.handshakes.began(connection, monotonic_ns())
        self._faults.each(slow, ClientConnection.refuse_handshake)

    def joined(self, connection: ClientConnection) -> None:
        """It has become a WebSocket client."""
        self._clients[connection] = None
        self.visits.watch(connection)
        if connection.visit.number is not None:
            self._numbered[connection.visit.number] = connection

    def stays(self, connection: ClientConnection) -> None:
        """How long it may stay has changed."""
        if connection in self._clients:
            self.visits.watch(connection)

    def opened(self, connection: ClientConnection) -> None:
        """It has been greeted. Who came in while we drain is told so at once."""
        if self._draining is not None:
            now_s = asyncio.get_running_loop().time()
            connection.announce_drain(*self._draining.join(connection, now_s))

    def left(self, connection: ClientConnection) -> None:
        """It is no client any more, though its socket may not be closed yet. Idempotent."""
        if self._clients.pop(connection, connection) is None:
            self.visits.forget(connection)
            self.bridge.gone(connection, now_ns())
            self._pacer.discard(connection)
            if connection.visit.number is not None:
                self._numbered.pop(connection.visit.number, None)
            connection.visit.leave()

    def disconnected(self, connection: ClientConnection) -> None:
        """Its socket is closed."""
        self.left(connection)
        self.handshakes.ended(connection)
        self.deadlines.forget(connection)
        self.behind.pop(connection, None)
        self._sockets.pop(connection, None)
        self.garbage.ended()
        if not self._sockets:
            self._all_left.set()

    # ------------------------------------------------------------------ the loop

    def _on_batch(self, deliveries: list[Delivery]) -> None:
        self.bridge.batch(deliveries, now_ns())
        self._pacer.see_to_due()

    def pump(self, connection: ClientConnection) -> None:
        """Something waits for this client, and its socket takes it."""
        self._pacer.pump(connection)

    def _sweep(self) -> bool:
        is_more = self.bridge.sweep(now_ns())
        self._pacer.see_to_due()
        return is_more

    def _review_slow(self) -> None:
        if self.behind:
            now, wall = monotonic_ns(), now_ns()
            self._faults.each(list(self.behind), lambda slow: slow.review(now, wall))

    def _end_overdue(self) -> bool:
        due = self.deadlines.due(monotonic_ns(), _HANDFUL)
        self._faults.each(due, self._end_one)
        return len(due) == _HANDFUL

    def _end_one(self, connection: ClientConnection) -> None:
        self.handshakes.overdue(connection)
        connection.overdue()

    def _end_replaced(self) -> None:
        """Who has to go for a newer connection of his, or by an operator's word."""
        for number, code in self.entrance.ending():
            replaced = self._numbered.get(number)
            if replaced is not None:
                replaced.close(code)

    def _end_visits(self) -> bool:
        now = now_ns()
        due = self.visits.due(now, _HANDFUL)
        self._faults.each(due, lambda client: client.say(client.visit.due(now)))
        return len(due) == _HANDFUL

    def _tend(self) -> None:
        self.garbage.tend(len(self._clients), monotonic_ns())
        if self.entrance.tend(now_ns()):
            self._drop_denied()

    def _drop_denied(self) -> None:
        denied = [c for c in self._clients if self.entrance.is_denied(c.visit)]
        self._faults.each(denied, lambda client: client.close(CloseCode.UNAUTHORIZED))

    def report(self) -> dict[str, int | float | str]:
        """The figures of every heartbeat; ``loop_lag_ms`` is the worst since the last one."""
        lag_s = self._turns.take_worst_lag_s()
        fanout = self.bridge.fanout
        inbox = self.upstream.stats()
        return {
            "clients": len(self._clients),
            "connections": len(self._sockets),
            "messages_in": inbox.messages,
            "messages_out": fanout.out.messages_out,
            "bytes_out": self.bytes_out,
            "requests_in": self.requests_in,
            "drops": inbox.lost + fanout.malformed,
            "dropped_bytes": self.dropped_bytes,
            "slow_closed": self.slow_closed,
            "origins_refused": self.refused["origin"],
            "connections_refused": self.refused.total() - self.refused["origin"],
            "handshakes_dropped": self.handshakes.dropped,
            "internal_errors": self.fault_count,
            "bus_topics": self.bridge.subscriptions.bus_topic_count,
            "channels": self.bridge.subscriptions.channel_count,
            "bus_connected": int(self.upstream.is_connected),
            "bus_repairs": inbox.repairs,
            "bus_gaps": inbox.gaps,
            "loop_lag_ms": round(lag_s * 1000, 2),
        }
