"""One TCP connection: HTTP or WebSocket bytes on one side, the bridge on the other.

Shell. The protocol is the Sans-I/O ``ServerProtocol`` of ``websockets``; keepalive, timeouts,
bounds and the shared frames written past the library are ours. Frames made by hand are complete
text frames and are written only while the library's state is OPEN, so they never fall between its
own fragments (it is asked for none) or behind a close frame.

A client that does not read: bytes it has not accepted are counted by the transport. Beyond
``max_buffered_bytes`` it gets a last ``error`` and close 4002. What one request of its own asked
for at once (snapshots) does not count against it until it has been read. While it is behind, its
further requests wait, and at ``MAX_BACKLOG`` of them reading stops.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from msgspec import UNSET
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from bus.clock import monotonic_ns, now_ns
from bus.runtime import get_logger
from bus.wsbridge.access.entrance import Visit
from bus.wsbridge.frames import text_frame
from bus.wsbridge.http import is_allowed_origin, plain
from bus.wsbridge.intake import Intake
from bus.wsbridge.messages import (
    CLOSE_REASONS,
    CloseCode,
    encode,
    error,
    rfc3339,
)
from bus.wsbridge.messages import (
    Connection as ConnectionMessage,
)
from bus.wsbridge.routes import Endpoint, EndpointKind, endpoint_of, options_of
from bus.wsbridge.session import Session
from bus.wsbridge.steps import Authenticate, Step
from bus.wsbridge.topics import MarketTopic

if TYPE_CHECKING:
    from bus.wsbridge.server import Server

MAX_BACKLOG = 64
"""Requests of one client that wait for an earlier one before reading from it stops."""

RETRY_AFTER_S = 5
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
SLOW_RETRY_MS = 5_000
_NS = 1_000_000_000
_RETRYABLE_BELOW = 4500
_NEVER_RETRY = (CloseCode.BYE, CloseCode.WRONG_FRAME_KIND, CloseCode.BAD_UTF8)

_log = get_logger("wsbridge.connection")


_LIBRARY_REASONS = {1002: "protocol_error", 1007: "bad_utf8", 1009: "message_too_big"}


class _Protocol(ServerProtocol):
    """The library's protocol, closing with our reason words instead of its sentences."""

    def fail(self, code: int, reason: str = "") -> None:
        super().fail(code, _LIBRARY_REASONS.get(int(code), reason))


class ClientConnection(asyncio.Protocol):
    """Made by the loop for each accepted connection."""

    session: Session
    visit: Visit

    def __init__(self, server: Server) -> None:
        self._server = server
        self._settings = server.settings
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._protocol = _Protocol(
            max_size=server.settings.max_message_bytes, logger=server.protocol_logger
        )
        self.pending: list[bytes] = []
        self.is_client = False
        self._backlog: deque[bytes] = deque()
        self._intake = Intake()
        self._message = bytearray()
        self._is_paused = False
        self._is_reading = True
        self._is_take_due = False
        self._allowance_bytes = 0
        self._awaits_pong = False
        self._is_ending = False
        self.since_ns = monotonic_ns()
        self.deadline_ns = self.since_ns + int(self._settings.handshake_timeout_s * _NS)

    # ------------------------------------------------------------------ the loop's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._settings.send_buffer_bytes)
        high = min(65_536, self._settings.max_buffered_bytes // 2)
        self._transport.set_write_buffer_limits(high=high, low=high // 4)
        self._server.connected(self)

    def data_received(self, data: bytes) -> None:
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
        self._protocol.receive_eof()
        self._server.disconnected(self)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._allowance_bytes = 0
        self.resume()

    # ------------------------------------------------------------------ incoming

    def _handle_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._on_request(event)
            elif isinstance(event, Frame):
                self._on_frame(event)
        self._write_protocol()

    def _on_request(self, request: Request) -> None:
        server = self._server
        server.shaken(self)
        path, _, query = request.path.partition("?")
        endpoint = endpoint_of(path)
        if endpoint is None:
            self._answer(server.pages.answer(request, server.readiness))
            return
        if not is_allowed_origin(request.headers, self._settings.origins):
            server.origins_refused += 1
            self._answer(plain(HTTPStatus.FORBIDDEN, "this Origin may not connect"))
            return
        if not server.readiness.accepting or server.is_full:
            server.connections_refused += 1
            why = "draining" if server.is_draining else "too many connections"
            self._answer(plain(HTTPStatus.SERVICE_UNAVAILABLE, why, retry_after_s=RETRY_AFTER_S))
            return
        entered = self._enter(request, query, endpoint)
        if isinstance(entered, Response):
            self._answer(entered)
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._write_protocol()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            entered.leave()
            self._expect_end()
            return
        self.visit = entered
        options = options_of(query, endpoint, self._settings.max_depth)
        self.session = server.bridge.new_session(endpoint, options, entered.warden)
        self.is_client = True
        self._rest()
        server.joined(self)
        if entered.refusal is not None:
            self.say(entered.refusal)
            return
        self._guarded(lambda: server.bridge.opened(self, now_ns()))
        self._note_held()

    def _enter(self, request: Request, query: str, endpoint: Endpoint) -> Visit | Response:
        """Ask the entrance; see :mod:`bus.wsbridge.access.entrance`."""
        server, now = self._server, now_ns()
        is_multi = endpoint.kind is EndpointKind.MULTI
        entered = server.entrance.receive(request.headers, query, self.peer, now, is_multi=is_multi)
        if isinstance(entered, Response):
            server.connections_refused += 1
            return entered
        if endpoint.is_fixed:
            topic = server.bridge.directory.resolve(endpoint.stream, endpoint.symbol)
            if isinstance(topic, MarketTopic):
                answer = server.entrance.forbids(entered, topic, request.headers)
                if answer is not None:
                    entered.leave()
                    return answer
        return entered

    @property
    def peer(self) -> str:
        """The address of the socket's other end, which may be a proxy."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    def authenticate(self, step: Authenticate, now_ns: int) -> list[Step]:
        """Check a token; the steps that follow from it."""
        return self.visit.authenticate(step, self.session, now_ns)

    def say(self, steps: list[Step]) -> None:
        """Execute steps that come from outside the session."""
        if self.is_open:
            self._guarded(lambda: self._server.bridge.say(self, steps, now_ns()))

    def _note_held(self) -> None:
        self.visit.tenure.holding(self.session.held_count > 0, now_ns())

    def refuse_handshake(self) -> None:
        """Drop a handshake that does not come to its end, with a word that may be read."""
        self._server.shaken(self)
        self._transport.write(_BUSY)
        self._transport.close()

    def _answer(self, response: Response) -> None:
        self._protocol.send_response(response)
        self._expect_end()

    def _on_frame(self, frame: Frame) -> None:
        if self._protocol.state is not State.OPEN:
            return  # nothing a client says any more may put off the end
        if frame.opcode is Opcode.PONG:
            self._awaits_pong = False
            self._rest()
        elif frame.opcode is Opcode.BINARY:
            self.close(CloseCode.WRONG_FRAME_KIND)
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._message += frame.data
            if frame.fin:
                text = bytes(self._message)
                self._message.clear()
                self._on_text(text)

    def _on_text(self, text: bytes) -> None:
        self._server.requests_in += 1
        if self._backlog or not self._may_handle():
            self._backlog.append(text)
            return
        self._handle(text)

    def _may_handle(self) -> bool:
        return not self._is_paused and not self._server.bridge.is_waiting(self)

    def _handle(self, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            self.close(CloseCode.BAD_UTF8)
            return
        self._guarded(lambda: self._server.bridge.received(self, text, now_ns()))
        self._note_held()

    def resume(self) -> None:
        """Handle the requests that waited for an earlier one, or for the client to read."""
        while self._backlog and self._may_handle() and self.is_open:
            self._handle(self._backlog.popleft())
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
            self._write(text_frame(encode(message)))
            self.close(CloseCode.INTERNAL)

    # ------------------------------------------------------------------ outgoing

    @property
    def is_open(self) -> bool:
        """Whether frames may be written past the library: OPEN, and not between fragments."""
        protocol = self._protocol
        return protocol.state is State.OPEN and not protocol.expect_continuation_frame

    @property
    def buffered_bytes(self) -> int:
        """Bytes written and not yet accepted by the kernel."""
        return self._transport.get_write_buffer_size()

    def flush(self) -> None:
        """Write everything pending, at once, and clear it."""
        pending = self.pending
        blob = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        self._write(blob)

    def allow_burst(self, size: int) -> None:
        """The next ``size`` bytes are what the client asked for at once; see the module.

        What earlier answers were allowed counts only while the client has not caught up since.
        """
        self._allowance_bytes = size + (self._allowance_bytes if self._is_paused else 0)

    def _write(self, blob: bytes) -> None:
        if not self.is_open:
            return
        if self._is_paused:
            limit = self._settings.max_buffered_bytes + self._allowance_bytes
            if self.buffered_bytes + len(blob) > limit:
                self._close_slow(len(blob))
                return
        self._server.bytes_out += len(blob)
        self._transport.write(blob)

    def _close_slow(self, dropped_bytes: int) -> None:
        server = self._server
        server.slow_closed += 1
        server.dropped_bytes += dropped_bytes
        _log.warning("slow client closed", buffered_bytes=self.buffered_bytes)
        message = error(
            "slow_consumer",
            "this connection reads slower than its topics move",
            now_ns=now_ns(),
            retry_after_ms=SLOW_RETRY_MS,
        )
        self._transport.write(text_frame(encode(message)))
        self.close(CloseCode.SLOW_CONSUMER)

    def close(
        self, code: CloseCode, *, reason: str = "", retry_after_ms: int | None = None
    ) -> None:
        """Begin the closing handshake; nothing is written after it. Later calls change nothing."""
        if self._protocol.state is not State.OPEN:
            return
        reason = reason or CLOSE_REASONS[code]
        if code is not CloseCode.BYE:
            last_word = ConnectionMessage(
                status="closing",
                code=int(code),
                reason=reason,
                reconnect=code < _RETRYABLE_BELOW and code not in _NEVER_RETRY,
                retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
                timestamp=rfc3339(now_ns()),
            )
            self._transport.write(text_frame(encode(last_word)))
        self._protocol.send_close(code, reason)
        self._write_protocol()
        self._expect_end()
        self._backlog.clear()
        self._go_on()  # so that its answer to the close is read
        self._server.left(self)

    def announce_drain(self, retry_after_ms: int, within_ms: int) -> None:
        """Tell the client that this process will soon close the connection."""
        message = ConnectionMessage(
            status="draining",
            reconnect_within_ms=within_ms,
            retry_after_ms=retry_after_ms,
            timestamp=rfc3339(now_ns()),
        )
        self._write(text_frame(encode(message)))

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    def _write_protocol(self) -> None:
        """Write what the library has to say: handshake, pongs, pings, close frames, the end."""
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        if self._protocol.close_expected():
            self._expect_end()
            self._server.left(self)
        elif self._is_paused:
            limit = self._settings.max_buffered_bytes + self._allowance_bytes
            if self.buffered_bytes > limit and self._protocol.state is State.OPEN:
                self._close_slow(0)

    # ------------------------------------------------------------------ time

    def _rest(self) -> None:
        """Nothing is awaited from the client: the next thing due is a ping."""
        self.deadline_ns = monotonic_ns() + int(self._settings.ping_interval_s * _NS)

    def _expect_end(self) -> None:
        """The connection should be over within the close timeout."""
        if not self._is_ending:
            self._is_ending = True
            self.deadline_ns = monotonic_ns() + int(self._settings.close_timeout_s * _NS)

    def overdue(self) -> None:
        """The deadline has passed: ping, or give up waiting for what never came."""
        if self._is_ending or not self.is_client:
            self.abort()
        elif self._awaits_pong:
            self.close(CloseCode.HEARTBEAT_TIMEOUT)
        else:
            self._awaits_pong = True
            self.deadline_ns = monotonic_ns() + int(self._settings.ping_timeout_s * _NS)
            self._protocol.send_ping(b"")
            self._write_protocol()
