"""A small real server that says exactly what a test tells it to: WebSocket and REST on one port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

RestAnswer = tuple[int, dict[str, str], bytes]


def ok(body: object) -> RestAnswer:
    return 200, {}, json.dumps(body).encode()


@dataclass
class FakeVenue:
    """``rest`` answers GET requests; ``refuse`` is the HTTP status of WebSocket handshakes."""

    rest: Callable[[str, dict[str, str]], RestAnswer] = lambda path, query: (404, {}, b"{}")
    on_open: Callable[[ServerConnection], None] = lambda connection: None
    on_message: Callable[[ServerConnection, str], None] = lambda connection, message: None
    refuse: RestAnswer | None = None
    open: list[ServerConnection] = field(default_factory=list)
    opened: int = 0
    handshakes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    port: int = 0
    _server: Server | None = None

    @property
    def ws_base(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            self.port,
            process_request=self._process_request,
            compression=None,
            ping_interval=None,
            close_timeout=0.5,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Leave abruptly: connections are reset, the port refuses."""
        for connection in list(self.open):
            connection.transport.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def say(self, *frames: str | bytes, to: int = -1) -> None:
        """Send text frames, all in one write, to an open connection."""
        connection = self.open[to]
        for frame in frames:
            connection.protocol.send_text(frame.encode() if isinstance(frame, str) else frame)
        connection.transport.write(b"".join(connection.protocol.data_to_send()))

    def close_all(self, code: int, reason: str = "") -> None:
        for connection in list(self.open):
            connection.protocol.send_close(code, reason)
            connection.transport.write(b"".join(connection.protocol.data_to_send()))

    def abort_all(self) -> None:
        """What a client sees as 1006."""
        for connection in list(self.open):
            connection.transport.abort()

    async def _talk(self, connection: ServerConnection) -> None:
        self.open.append(connection)
        self.opened += 1
        self.on_open(connection)
        try:
            async for message in connection:
                assert isinstance(message, str)
                self.messages.append(message)
                self.times_s.append(asyncio.get_running_loop().time())
                self.on_message(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self.open.remove(connection)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self.handshakes.append(request.path)
            return None if self.refuse is None else _response(self.refuse)
        query = dict(parse_qsl(parts.query))
        self.requests.append((parts.path, query))
        self.headers.append(request.headers)
        return _response(self.rest(parts.path, query))


def _response(answer: RestAnswer) -> Response:
    status, headers, body = answer
    all_headers = Headers({"Content-Length": str(len(body)), "Connection": "close", **headers})
    return Response(status, "Because", all_headers, body)


@asynccontextmanager
async def fake_venue() -> AsyncIterator[FakeVenue]:
    venue = FakeVenue()
    await venue.start()
    try:
        yield venue
    finally:
        await venue.stop()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]
