"""A simulated venue that plays captures: one TCP port for WebSocket, REST and ``/_sim/playback``.

It takes the place of a venue's own server while captures are played and needs to know nothing of
the venue: what is said and answered is in the capture. Owns the listening socket and the
connections; what happens when is the conductor's.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bus.config.simulator import SimulatorSettings
from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.simulator.captured import Captures
from bus.simulator.clients import Client, Traffic
from bus.simulator.conductor import Conductor
from bus.simulator.http_reply import Target, reply, to_response
from bus.simulator.listener import Listener
from bus.simulator.speed import parse_speed

_log = get_logger("simulator.replay")

HELD_S: Final = 3_600.0
"""A REST call may wait this long for its place in the capture."""
NOTHING: Final = {"error": "no capture of this venue is played", "msg": "nothing to play"}


class ReplayServer:
    """One venue, played from ``captures``; without any it refuses whoever comes (HTTP 503)."""

    def __init__(self, venue: str, settings: SimulatorSettings, captures: Captures) -> None:
        self._venue = venue
        self._settings = settings
        self._traffic = Traffic()
        self._listener = Listener(self._on_connection, self._on_request)
        self.conductor: Conductor | None = None
        if captures.heads:
            speed = parse_speed(settings.playback_speed)
            self.conductor = Conductor(captures, speed=speed, end=settings.playback_end)

    # what the simulator's process calls

    async def start(self, host: str, port: int) -> int:
        """Listen, and play as soon as somebody comes. Raises ``PortTaken``."""
        name = f"simulator.ports.{self._venue}"
        found = await self._listener.start(host, port, name, open_timeout_s=HELD_S)
        if self.conductor is not None:
            self._listener.spawn(self._conduct(self.conductor))
        else:
            _log.warning("nothing to play", venue=self._venue)
        return found

    def step(self, now_ns: int) -> None:
        """Nothing lives here by itself."""

    async def close(self) -> None:
        """Stop playing and listening; close every connection."""
        await self._listener.close()

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat, each led by the venue's name."""
        figures = self._traffic.figures(self._venue)
        if self.conductor is not None:
            for name, value in self.conductor.figures().items():
                figures[f"{self._venue}_{name}"] = value
        return figures

    async def _conduct(self, conductor: Conductor) -> None:
        try:
            await conductor.run()
        except ConfigError as error:
            # The files were good when the process began: somebody has changed them since.
            _log.error("capture unreadable", error=error)

    # connections

    async def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = Target.parse(request.path)
        if target.path.startswith("/_sim/"):
            peer = str(connection.remote_address[0])
            return self._control(target, peer)
        conductor = self.conductor
        if conductor is None:
            return to_response(reply(NOTHING, 503))
        if "Upgrade" in request.headers:
            if self._traffic.connections >= self._settings.max_connections:
                self._traffic.refused_connections += 1
                return to_response(reply({"error": "Too many connections."}, 503))
            return None
        self._traffic.requests += 1
        return await self._answer(connection, target, conductor)

    async def _answer(
        self, connection: ServerConnection, target: Target, conductor: Conductor
    ) -> Response:
        call = conductor.ask(target.path, target.query)
        gone = asyncio.ensure_future(connection.wait_closed())
        gone.add_done_callback(lambda _: conductor.withdraw(call))
        waits: set[asyncio.Future[Any]] = {call.answer, gone}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            gone.cancel()
            raise
        answer = call.answer.result() if call.answer.done() else None
        if answer is None:
            connection.transport.abort()
            return to_response(reply(NOTHING, 503))
        return to_response(answer)

    def _control(self, target: Target, peer: str) -> Response:
        if not ip_address(peer).is_loopback:
            return to_response(
                reply({"error": "the control endpoint answers this machine only"}, 403)
            )
        if target.path != "/_sim/playback" or self.conductor is None:
            return to_response(reply({"error": "no such page", "pages": ["playback"]}, 404))
        return to_response(reply(self.conductor.state()))

    async def _on_connection(self, connection: ServerConnection) -> None:
        assert self.conductor is not None
        client = Client(connection, self._settings.client_buffer_bytes, self._traffic)
        seat = self.conductor.join(client)
        self._traffic.connections += 1
        self._traffic.connections_total += 1
        try:
            async for message in connection:
                self._traffic.messages_in += 1
                self.conductor.heard(seat, message)
        except ConnectionClosed:
            pass  # said by the client, the network or the capture
        finally:
            self.conductor.leave(seat)
            self._traffic.connections -= 1
