"""The rim that simulated venues share: one port for WebSocket, REST and the control endpoint.

A venue's ``server`` derives from :class:`BaseServer` and says what its sessions are and what it
answers. REST goes through the WebSocket library's own request hook, so each answer ends its
connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bus.config.simulator import SimulatorSettings
from bus.simulator.clients import Client, Traffic
from bus.simulator.control import Control
from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults
from bus.simulator.http_reply import HttpReply, Target, reply, to_response
from bus.simulator.listener import Listener

S = TypeVar("S")


class BaseServer(ABC, Generic[S]):
    """Owns the listener and the connections; ``S`` is the state of one connection."""

    name: ClassVar[str]
    """The venue: in counters and in the name of its port's setting."""
    own_faults: ClassVar[frozenset[str]] = frozenset()
    """Faults that only some venues can have."""
    paths: ClassVar[frozenset[str]] = frozenset({"/"})
    """Where WebSocket clients are taken."""

    def __init__(self, settings: SimulatorSettings, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._clock = clock
        self.faults = Faults()
        self.traffic = Traffic()
        self.fanout = Fanout(self.faults)
        self.clients: dict[Client, S] = {}
        self._control = Control(self, clock)
        self._listener = Listener(self._on_connection, self._on_request)

    # What a venue says of itself

    @property
    @abstractmethod
    def symbols(self) -> Sequence[str]:
        """The venue's symbols."""

    @abstractmethod
    def step(self, now_ns: int) -> None:
        """Let the venue live until ``now_ns`` and send what is due."""

    @abstractmethod
    def begin(self, client: Client) -> S:
        """A client has connected: the state of its connection."""

    @abstractmethod
    async def converse(self, client: Client, session: S) -> None:
        """Talk with one client until it leaves or is closed."""

    @abstractmethod
    def answer_rest(self, target: Target, now_ns: int) -> HttpReply:
        """The answer to one GET request."""

    @abstractmethod
    def refuse_rest(self, status: int, wait_s: int) -> HttpReply:
        """How this venue words a 429 or a 418."""

    @abstractmethod
    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """A message for a fault, or ``None`` where this venue has no such thing."""

    # Life

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use (``port`` 0 takes any). Raises ``PortTaken``."""
        return await self._listener.start(host, port, f"simulator.ports.{self.name}")

    async def close(self) -> None:
        """Stop listening and close every connection with 1001."""
        await self._listener.close()

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat."""
        figures = self.traffic.figures(self.name)
        figures[f"{self.name}_streams"] = self.fanout.stream_count
        figures[f"{self.name}_queued_bytes"] = sum(client.queued_bytes for client in self.clients)
        figures[f"{self.name}_faults"] = sum(self.faults.happened.values())
        return figures

    def playback_state(self) -> dict[str, object] | None:
        """Only recorded venues have one."""
        return None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, or to the server's close."""
        self._listener.spawn(work)

    # Connections

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = Target.parse(request.path)
        peer = str(connection.remote_address[0])
        if target.path.startswith("/_sim/"):
            self.traffic.requests += 1
            return to_response(self._control.answer(target, peer, request.headers))
        if target.path in self.paths and "Upgrade" in request.headers:
            if len(self.clients) >= self._settings.max_connections:
                self.traffic.refused_connections += 1
                return to_response(reply({"message": "Too many connections."}, 503))
            return None
        self.traffic.requests += 1
        if request.method != "GET":
            return to_response(reply({"message": "Only GET is served here."}, 405))
        now_ns = self._clock()
        refused = self.faults.rest_refusal(now_ns)
        if refused is not None:
            status, wait_s = refused
            return to_response(
                self.refuse_rest(status, wait_s).with_headers(Retry_After=str(wait_s))
            )
        return to_response(self.answer_rest(target, now_ns))

    async def _on_connection(self, connection: ServerConnection) -> None:
        client = Client(connection, self._settings.client_buffer_bytes, self.traffic)
        session = self.clients[client] = self.begin(client)
        self.traffic.connections = len(self.clients)
        self.traffic.connections_total += 1
        try:
            await self.converse(client, session)
        except ConnectionClosed:
            pass  # said by the client or the network: there is nobody left to tell
        finally:
            self.fanout.leave(client)
            del self.clients[client]
            self.traffic.connections = len(self.clients)
