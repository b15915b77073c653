"""One TCP connection: HTTP or WebSocket bytes on one side, the bridge on the other.

Shell; the reading half (the writing half is :mod:`bus.wsbridge.outgoing`). The protocol is the
Sans-I/O ``ServerProtocol`` of ``websockets``; keepalive, timeouts and bounds are ours. Requests of
a client wait while an earlier one does, while its answer is being sent, and while the client does
not read; at ``MAX_BACKLOG`` of them reading stops.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from bus.clock import monotonic_ns, now_ns
from bus.runtime import get_logger
from bus.wsbridge.access.entrance import Visit
from bus.wsbridge.actions import Refusal, split_requests
from bus.wsbridge.faults import is_told
from bus.wsbridge.frames import PING
from bus.wsbridge.http import is_allowed_origin, plain
from bus.wsbridge.intake import Intake
from bus.wsbridge.messages import (
    CloseCode,
    encode,
    error,
)
from bus.wsbridge.outgoing import Outgoing
from bus.wsbridge.profile import agreed
from bus.wsbridge.protocol import Protocol
from bus.wsbridge.routes import Endpoint, EndpointKind, endpoint_of, options_of
from bus.wsbridge.steps import Authenticate, Step
from bus.wsbridge.topics import MarketTopic

if TYPE_CHECKING:
    from bus.wsbridge.server import Server

MAX_BACKLOG = 64
"""Requests of one client that wait for an earlier one before reading from it stops."""

RETRY_AFTER_S = 5
_REFUSALS = {401: "token", 429: "address", 503: "unavailable"}
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
_NS = 1_000_000_000
_FIRST_PING_SHARE = (0.1, 1.0)
"""Of the interval: those that come together are not pinged together ever after."""

_log = get_logger("wsbridge.connection")


class ClientConnection(Outgoing, asyncio.Protocol):
    """Made by the loop for each accepted connection."""

    __slots__ = (
        "_awaits_pong", "_backlog", "_has_begun", "_intake", "_is_reading", "_is_take_due",
        "_message", "is_client", "since_ns", "visit",
    )  # fmt: skip

    visit: Visit

    def __init__(self, server: Server) -> None:
        protocol = Protocol(
            max_bytes=server.settings.max_message_bytes,
            compresses=server.compresses,
            logger=server.protocol_logger,
        )
        super().__init__(server, protocol)
        self.is_client = False
        self._backlog: list[bytes | Refusal] = []
        self._intake = Intake()
        self._message = bytearray()
        self._is_reading = True
        self._is_take_due = False
        self._awaits_pong = False
        self._has_begun = False
        self.since_ns = monotonic_ns()
        self.deadline_ns = self.since_ns + int(self._settings.handshake_timeout_s * _NS)

    @property
    def _connection(self) -> ClientConnection:
        return self

    @property
    def has_begun(self) -> bool:
        """Whether anything has come from the client."""
        return self._has_begun

    def leave_quietly(self) -> None:
        """Close a connection on which nothing was said."""
        self._transport.close()

    # ------------------------------------------------------------------ the loop's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._settings.send_buffer_bytes)
        # Zero: from the first byte that the kernel does not take this client counts as behind.
        self._transport.set_write_buffer_limits(high=0, low=0)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
        self._has_begun = True
        self._intake.add(data)
        if not self._is_take_due:
            self._take()

    def _take(self) -> None:
        """Give the protocol one slice of what came."""
        self._is_take_due = False
        if self._intake:
            self._protocol.receive_data(self._intake.next_slice())
            self._handle_events()
        self._go_on()

    def _go_on(self) -> None:
        """Take the rest in later turns of the loop; read more when that is done."""
        if self._transport.is_closing():
            return
        if self._intake and not self._is_take_due and len(self._backlog) < MAX_BACKLOG:
            self._is_take_due = True
            asyncio.get_running_loop().call_soon(self._take)
        limit = MAX_BACKLOG if self._is_reading else MAX_BACKLOG // 2
        wanted = not self._intake and len(self._backlog) < limit
        if wanted is not self._is_reading:
            self._is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._handle_events()

    def connection_lost(self, exc: Exception | None) -> None:
        self._intake.clear()
        self._drop_descriptor()
        self._protocol.receive_eof()
        self._protocol.let_go()
        self._server.disconnected(self)

    # ------------------------------------------------------------------ incoming

    def _handle_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._on_request(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        self.write_protocol()

    def _on_request(self, request: Request) -> None:
        server = self._server
        server.handshakes.ended(self)
        path, _, query = request.path.partition("?")
        endpoint = endpoint_of(path)
        if endpoint is None:
            self._answer(server.pages.answer(request, server.readiness))
            return
        if not is_allowed_origin(request.headers, self._settings.origins):
            server.refused["origin"] += 1
            if is_told(server.refused["origin"]):
                origin = request.headers.get_all("Origin")
                so_far = server.refused["origin"]
                _log.warning("Origin not in bridge.origins", origin=origin, so_far=so_far)
            why = "this Origin may not connect: bridge.origins lists those that may"
            self._answer(plain(HTTPStatus.FORBIDDEN, why))
            return
        if server.is_full:
            server.refused["full"] += 1
            why = "too many connections"
            self._answer(plain(HTTPStatus.SERVICE_UNAVAILABLE, why, retry_after_s=RETRY_AFTER_S))
            return
        entered = self._enter(request, query, endpoint)
        if isinstance(entered, Response):
            self._answer(entered)
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self.write_protocol()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            entered.leave()
            self._expect_end()
            return
        request.headers.clear()  # the protocol's parser keeps the request for good
        self.visit = entered
        options = options_of(query, endpoint, self._settings.max_depth)
        subprotocol = self._protocol.subprotocol
        profile = agreed(subprotocol, options, deflate=self._protocol.deflates)
        self.session = server.bridge.new_session(endpoint, options, entered.warden, profile)
        self.wire = profile.wire
        self.is_client = True
        self._rest(random.uniform(*_FIRST_PING_SHARE))
        server.joined(self)
        if entered.refusal is not None:
            self.say(entered.refusal)
            return
        self._guarded(lambda: server.bridge.opened(self, now_ns()))
        self._note_held()
        server.opened(self)

    def _enter(self, request: Request, query: str, endpoint: Endpoint) -> Visit | Response:
        """Ask the entrance; see :mod:`bus.wsbridge.access.entrance`."""
        server, now = self._server, now_ns()
        is_multi = endpoint.kind is EndpointKind.MULTI
        entered = server.entrance.receive(request.headers, query, self.peer, now, is_multi=is_multi)
        if isinstance(entered, Response):
            server.refused[_REFUSALS.get(entered.status_code, "other")] += 1
            return entered
        if endpoint.is_fixed:
            topic = server.bridge.directory.resolve(endpoint.stream, endpoint.symbol)
            if isinstance(topic, MarketTopic):
                answer = server.entrance.forbids(entered, topic, request.headers)
                if answer is not None:
                    server.refused["topic"] += 1
                    entered.leave()
                    return answer
        return entered

    @property
    def peer(self) -> str:
        """The address of the socket's other end, which may be a proxy."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    def is_named(self, what: str, value: str) -> bool:
        """Whether ``value`` is its ``user``, its ``address`` (as limits group them), its ``id``."""
        if what == "id":
            return self.session.connection_id == value
        return value == (self.visit.user if what == "user" else self.visit.origin.group)

    def authenticate(self, step: Authenticate, now_ns: int) -> list[Step]:
        """Check a token; the steps that follow from it."""
        return self.visit.authenticate(step, self.session, now_ns)

    def say(self, steps: list[Step]) -> None:
        """Execute steps that come from outside the session."""
        if self.is_open:
            self._guarded(lambda: self._server.bridge.say(self, steps, now_ns()))

    def _note_held(self) -> None:
        """After whatever may have changed how long the client may stay."""
        self.visit.tenure.holding(self.session.held_count > 0, now_ns())
        self._server.stays(self)

    def refuse_handshake(self) -> None:
        """Drop a handshake that does not come to its end, with a word that may be read."""
        self._server.handshakes.ended(self)
        if self._protocol.state is State.CONNECTING and not self._is_ending:
            self._transport.write(_BUSY)
            self._transport.close()
        else:
            self.abort()  # it said something else than HTTP and has been told so

    def _answer(self, response: Response) -> None:
        self._protocol.send_response(response)
        self._expect_end()

    def _on_frame(self, frame: Frame) -> None:
        if self._protocol.state is not State.OPEN:
            return  # nothing a client says any more may put off the end
        if frame.opcode is Opcode.PONG:
            self._awaits_pong = False
            self._rest()
        elif frame.opcode is (Opcode.TEXT if self.wire.is_binary else Opcode.BINARY):
            self.close(CloseCode.WRONG_FRAME_KIND)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message += frame.data
            if frame.fin:
                message = bytes(self._message)
                self._message.clear()
                self._on_message(message)

    def _on_message(self, message: bytes) -> None:
        profile = self.session.profile
        if profile.codec == "json":
            try:
                message.decode()
            except UnicodeDecodeError:
                self.close(CloseCode.BAD_UTF8)
                return
        requests: list[bytes] | Refusal = [message]
        if profile.is_full:
            requests = split_requests(message, profile.codec)
        for request in [requests] if isinstance(requests, Refusal) else requests:
            self._server.requests_in += 1
            if self._backlog or not self._may_handle():
                self._backlog.append(request)
            elif self.is_open:
                self._handle(request)

    def _may_handle(self) -> bool:
        return not (
            self._is_paused or self.has_answer_waiting or self._server.bridge.is_waiting(self)
        )

    def _handle(self, request: bytes | Refusal) -> None:
        bridge = self._server.bridge
        if isinstance(request, Refusal):
            refusal = request
            self._guarded(lambda: bridge.refused(self, refusal, now_ns()))
            return
        text = request
        self._guarded(lambda: bridge.received(self, text, now_ns()))
        self._note_held()

    def resume(self) -> None:
        """Handle the requests that waited for an earlier one, or for the client to read."""
        while self._backlog and self._may_handle() and self.is_open:
            self._handle(self._backlog.pop(0))
        self._note_held()
        self._go_on()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Run ``act``; a bug of ours costs this client its connection and nobody else anything."""
        try:
            act()
        except Exception as error_found:  # noqa: BLE001  (the boundary between clients)
            _log.exception("request failed", error_found)
            self._server.internal_errors += 1
            self.pending.clear()
            now = now_ns()
            message = error("internal", "the server failed; it was logged", now_ns=now)
            self.write(self.wire.frame(encode(message, self.wire.codec)))
            self.close(CloseCode.INTERNAL)

    def close(
        self, code: CloseCode, *, reason: str = "", retry_after_ms: int | None = None
    ) -> None:
        """As the writing half does it; and read on, for the answer to the close."""
        if self._protocol.state is State.OPEN:
            super().close(code, reason=reason, retry_after_ms=retry_after_ms)
            self._backlog.clear()
            self._go_on()

    # ------------------------------------------------------------------ time

    def _rest(self, share: float = 1.0) -> None:
        """Nothing is awaited from the client: the next thing due is a ping."""
        self._due_in(self._settings.ping_interval_s * share)

    def overdue(self) -> None:
        """The deadline has passed: ping, or give up waiting for what never came.

        A connection that the protocol holds closed is over whatever else is known of it: who broke
        the protocol is not pinged, and may keep his end open for as long as he likes.
        """
        if self._is_ending or not self.is_client or self._protocol.state is not State.OPEN:
            self.abort()
        elif self._awaits_pong:
            self.close(CloseCode.HEARTBEAT_TIMEOUT)
        else:
            self._awaits_pong = True
            self._due_in(self._settings.ping_timeout_s)
            self._transport.write(PING)
