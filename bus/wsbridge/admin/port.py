"""The admin port: one small HTTP server beside the bridge, on a port of its own for each worker.

Shell. For this machine: on loopback every local program may use it, unless there is a token; off
loopback there must be one. A browser may not: pages have an ``Origin``, or a ``Host`` that is a
name (DNS rebinding), and both are refused. What changes something is a POST. One request a
connection, ten seconds each, at most 64 at once.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

import msgspec
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from bus.config.access import AdminSettings
from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.wsbridge.admin import views
from bus.wsbridge.http import answer, plain
from bus.wsbridge.limits.ledger import LedgerError
from bus.wsbridge.listening import bind, url_of

if TYPE_CHECKING:
    from bus.wsbridge.server import Server

MAX_CONNECTIONS = 64
REQUEST_TIMEOUT_S = 10.0
MIN_TOKEN_BYTES = 16
_INDEX = """\
GET  /metrics                          figures for Prometheus
GET  /admin/connz?sort=&limit=         connections; sort: age, bytes, buffered, topics
GET  /admin/topicz?limit=              topics that clients hold
GET  /admin/feedz                      feeds as this worker sees them
POST /admin/kick?user=|address=|id=    close connections with 4508; users and addresses
                                       on all workers of this host, an id on this one
POST /admin/drain                      let this worker leave; its supervisor starts a new one
GET  /healthz, /readyz                 as on the client port
"""

_log = get_logger("wsbridge.admin")


class AdminPort:
    """See the module. ``on_drain`` begins the end of the process."""

    def __init__(
        self, settings: AdminSettings, server: Server, on_drain: Callable[[], None]
    ) -> None:
        """Raises ConfigError for a missing or unusable token."""
        self._settings = settings
        self.server = server
        self._on_drain = on_drain
        self._token: bytes | None = None
        self.connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None
        if settings.token:
            from bus.tokens import read_secret  # with cryptography: only who has a token waits

            self._token = read_secret(settings.token, "bridge.admin.token")
            if len(self._token) < MIN_TOKEN_BYTES:
                why = f"has {len(self._token)} bytes, at least {MIN_TOKEN_BYTES} are needed"
                raise ConfigError.of("bridge.admin.token", why)

    async def start(self) -> str:
        """Listen; the URL. Raises ConfigError when the port cannot be had.

        A port that is named is shared with the worker that this one succeeds, until that drains.
        """
        port = port_of(self._settings.port, self.server.name)
        sock: socket.socket = bind(self._settings.host, port, "bridge.admin", shared=bool(port))
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), sock=sock
        )
        return url_of(sock)

    def make_way(self) -> None:
        """Leave a port that is named to the worker that comes next. Any other is this one's own,
        and open as long as it lives.
        """
        if self._listener is not None and self._settings.port:
            self._listener.close()

    def close(self) -> None:
        """Listen no more, and cut off who is there."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections):
            connection.abort()

    # ------------------------------------------------------------------ requests

    def answer(self, request: Request) -> Response:
        """The answer to any request; a fault of ours is 500 and in the log."""
        refused = self._refusal(request)
        if refused is not None:
            return refused
        try:
            return self._route(request)
        except Exception as error:  # noqa: BLE001  (the boundary to whoever asks)
            _log.exception("admin request failed", error)
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; it was logged")

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.get_all("Origin"):
            return plain(HTTPStatus.FORBIDDEN, "pages may not use the admin port")
        if self._token is None:
            hosts = headers.get_all("Host")
            if len(hosts) != 1 or not _is_address(hosts[0]):
                return plain(HTTPStatus.FORBIDDEN, "use the address, not a name")
            return None
        shown = headers.get_all("Authorization")
        scheme, _, token = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        given = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token):
            return None
        response = plain(HTTPStatus.UNAUTHORIZED, "a bearer token is needed")
        response.headers["WWW-Authenticate"] = 'Bearer realm="mdbus admin"'
        return response

    def _route(self, request: Request) -> Response:
        path, _, query = request.path.partition("?")
        try:
            options = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
        except ValueError:
            return plain(HTTPStatus.BAD_REQUEST, "too many options")
        server = self.server
        if path in ("/admin/kick", "/admin/drain"):
            if request.method != "POST":
                return _not_allowed("POST")
            return self._kick(options) if path == "/admin/kick" else self._drain()
        if request.method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        match path:
            case "/metrics":
                from bus.wsbridge.admin.metrics import CONTENT_TYPE, render  # 20 ms, once

                body = render(views.figures(server))
                return answer(HTTPStatus.OK, body, CONTENT_TYPE)
            case "/admin" | "/admin/" | "/":
                return answer(HTTPStatus.OK, _INDEX.encode(), "text/plain; charset=utf-8")
            case "/admin/connz":
                sort = options.get("sort", "age")
                if sort not in views.SORTS:
                    why = f"sort is one of {', '.join(views.SORTS)}"
                    return plain(HTTPStatus.BAD_REQUEST, why)
                return self._limited(
                    options, lambda n: views.connections(server, sort=sort, limit=n)
                )
            case "/admin/topicz":
                return self._limited(options, lambda n: views.topics(server, limit=n))
            case "/admin/feedz":
                return _json(views.feeds(server))
            case "/healthz" | "/readyz":
                return server.pages.answer(request, server.readiness)
        return plain(HTTPStatus.NOT_FOUND, "there is nothing at this path; see /admin/")

    def _limited(self, options: dict[str, str], view: Callable[[int], dict[str, Any]]) -> Response:
        text = options.get("limit", str(views.DEFAULT_ROWS))
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            return plain(HTTPStatus.BAD_REQUEST, "limit is a number of rows")
        return _json(view(int(text)))

    def _kick(self, options: dict[str, str]) -> Response:
        known = {name: options[name] for name in ("user", "address", "id") if options.get(name)}
        if len(known) != 1:
            return plain(HTTPStatus.BAD_REQUEST, "name one of user, address, id")
        (what, value), *_ = known.items()
        try:
            count = self.server.kick(what, value)
        except LedgerError as error:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, f"the ledger cannot be used: {error}")
        _log.info("kicked by an operator", what=what, connections=count)
        return _json({"kicked": count})

    def _drain(self) -> Response:
        _log.info("drain asked for by an operator")
        self._on_drain()
        return answer(HTTPStatus.ACCEPTED, b'{"draining":true}\n', "application/json")


def port_of(base: int, worker: str) -> int:
    """The admin port of a worker: ``bridge.1`` has ``base``, ``bridge.2`` the next. 0 stays 0."""
    _, _, number = worker.rpartition(".")
    return base + int(number) - 1 if base and number.isdigit() and int(number) > 0 else base


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.removeprefix("[").removesuffix("]")
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _json(value: dict[str, Any]) -> Response:
    body = msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
    return answer(HTTPStatus.OK, body, "application/json")


def _not_allowed(methods: str) -> Response:
    response = plain(HTTPStatus.METHOD_NOT_ALLOWED, f"use {methods}")
    response.headers["Allow"] = methods
    return response


class _Connection(asyncio.Protocol):
    """One request, one answer."""

    def __init__(self, port: AdminPort) -> None:
        self._port = port
        self._protocol = ServerProtocol(logger=port.server.protocol_logger)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._port.connections.add(self)
        if len(self._port.connections) > MAX_CONNECTIONS:
            self.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REQUEST_TIMEOUT_S, self.abort)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                response = self._port.answer(event)
                if event.method == "HEAD":
                    response.body = b""
                self._protocol.send_response(response)
        self._write()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._port.connections.discard(self)

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
        if self._protocol.handshake_exc is not None:
            self._transport.close()
