"""The writing half of a connection: the client's outbox on one side, the transport on the other.

Shell. Frames made by hand are complete data frames and are written only while the library's state
is OPEN, so they never fall between its own fragments (it is asked for none) or behind a close
frame. They go to the socket past the transport (:mod:`bus.wsbridge.direct_write`), which keeps what
the kernel does not take; that it does is told to the outbox, which then keeps marks instead of
messages (see there), and is looked at 20 times a second.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from msgspec import UNSET
from websockets.protocol import State

from bus.clock import monotonic_ns, now_ns
from bus.runtime import get_logger
from bus.wsbridge.client import BridgeClient
from bus.wsbridge.direct_write import write_at_once
from bus.wsbridge.messages import CLOSE_REASONS, CloseCode, encode, error, rfc3339
from bus.wsbridge.messages import Connection as ConnectionMessage
from bus.wsbridge.pressure import Pressure
from bus.wsbridge.protocol import Protocol

if TYPE_CHECKING:
    from bus.wsbridge.connection import ClientConnection
    from bus.wsbridge.server import Server

SLOW_RETRY_MS = 5_000
_NS = 1_000_000_000
_OPEN = State.OPEN
_RETRYABLE_BELOW = 4500
_NEVER_RETRY = (CloseCode.BYE, CloseCode.WRONG_FRAME_KIND, CloseCode.BAD_UTF8)

_log = get_logger("wsbridge.outgoing")


class Outgoing(BridgeClient):
    """See the module. The reading half is :class:`bus.wsbridge.connection.ClientConnection`."""

    __slots__ = (
        "_fd", "_is_ending", "_is_gone", "_is_paused", "_pressure", "_protocol", "_said_clear",
        "_server", "_settings", "_transport", "deadline_ns",
    )  # fmt: skip

    def __init__(self, server: Server, protocol: Protocol) -> None:
        super().__init__()
        self._server = server
        self._settings = server.settings
        self.pressure_bytes = self._settings.pressure_bytes
        self.limit_bytes = self._settings.max_buffered_bytes
        self.limit_age_ns = int(self._settings.max_buffered_age_s * _NS)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._protocol = protocol
        self._pressure = Pressure()
        self._fd = -1
        self._said_clear: bool | None = None  # what :meth:`route` went by, while that counts
        self._is_paused = False
        self._is_ending = False
        self._is_gone = False
        self.deadline_ns = 0

    @property
    @abstractmethod
    def _connection(self) -> ClientConnection:
        """This very object, as the server knows it."""

    @property
    def is_open(self) -> bool:
        """Whether frames may be written past the library: OPEN, and not between fragments."""
        protocol = self._protocol
        return protocol.state is State.OPEN and not protocol.expect_continuation_frame

    @property
    def bytes_out(self) -> int:
        """Bytes written to this client, as of the fan-out's last count."""
        return self._pressure.written_bytes + self.direct_bytes

    @property
    def buffered_bytes(self) -> int:
        """Bytes written and not yet accepted by the kernel."""
        return self._transport.get_write_buffer_size()

    # ------------------------------------------------------------------ bytes

    def write(self, blob: bytes) -> None:
        """Send what the kernel takes at once; the transport keeps the rest, and what follows."""
        protocol = self._protocol
        if protocol.state is not _OPEN or protocol.expect_continuation_frame:
            return
        size = len(blob)
        self._server.written_bytes += size
        self._pressure.written_bytes += size
        sent = 0 if self._is_paused else write_at_once(self._fd, blob)
        if sent < size:
            self.write_rest(blob, sent)

    def write_rest(self, blob: bytes, taken: int) -> None:
        """Leave to the transport what the kernel did not take."""
        self._transport.write(blob[taken:] if taken else blob)
        if self._is_paused and not self.is_pressed:
            buffered = self.buffered_bytes
            if buffered >= self.pressure_bytes:
                self.press(now_ns(), buffered)

    def flush(self) -> None:
        """Write everything pending, at once, and clear it."""
        super().flush()
        if self.is_overrun:
            self._close_slow()

    def go_on(self) -> None:
        """See that what waits is sent: a helping now if nobody else waits, the rest in turns."""
        if (self.has_waiting or self.is_pressed) and not self._is_paused:
            self._server.pump(self._connection)

    def pump(self) -> bool:
        """Send one helping; whether there is more, and the socket takes it."""
        if self._is_paused or not self.is_open:
            return False
        blob = self.helping(self._server.bridge.source, now_ns(), lambda: self.buffered_bytes)
        if blob:
            self.pending.append(blob)
            self.flush()
        if not self.has_answer_waiting:
            self.resume()
        return (self.has_waiting or self.is_pressed) and not self._is_paused

    def pause_writing(self) -> None:
        """The kernel does not take everything."""
        self._is_paused = True
        self.reroute()
        self._pressure.began(self.buffered_bytes, monotonic_ns())
        self._server.behind[self._connection] = None

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._is_paused = False
        self.reroute()
        self._server.behind.pop(self._connection, None)
        self.go_on()
        self.resume()

    def review(self, mono_ns: int, wall_ns: int) -> None:
        """Look how far the socket is behind; what follows from it."""
        buffered = self.buffered_bytes
        self._pressure.look(buffered, mono_ns)
        if self._pressure.stuck_ns(mono_ns) >= self._settings.stuck_s * _NS:
            self._count_slow(buffered)
            self.abort()
            return
        is_late = self._pressure.age_ns(mono_ns) >= self._settings.pressure_age_s * _NS
        if self.is_open and (is_late or buffered >= self.pressure_bytes):
            self.press(wall_ns, buffered)
        self.keep_to_limit(wall_ns)
        if self.is_overrun:
            self._close_slow()

    # ------------------------------------------------------------------ the end

    def _close_slow(self) -> None:
        if self._protocol.state is not State.OPEN:
            return
        super().flush()
        self._count_slow(self.buffered_bytes)
        message = error(
            "slow_consumer",
            "this connection reads slower than its topics move",
            now_ns=now_ns(),
            retry_after_ms=SLOW_RETRY_MS,
        )
        self._transport.write(self.wire.frame(encode(message, self.wire.codec)))
        self.close(CloseCode.SLOW_CONSUMER)

    def _count_slow(self, buffered: int) -> None:
        server = self._server
        server.slow_closed += 1
        server.dropped_bytes += self.queued_bytes
        _log.warning("slow client closed", buffered_bytes=buffered, queued=self.queued_bytes)

    def close(
        self, code: CloseCode, *, reason: str = "", retry_after_ms: int | None = None
    ) -> None:
        """Begin the closing handshake; nothing is written after it. Later calls change nothing."""
        if self._protocol.state is not State.OPEN:
            return
        super().flush()
        reason = reason or CLOSE_REASONS[code]
        self._server.closes[int(code)] += 1
        if code is not CloseCode.BYE:
            last_word = ConnectionMessage(
                status="closing",
                code=int(code),
                reason=reason,
                reconnect=code < _RETRYABLE_BELOW and code not in _NEVER_RETRY,
                retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
                timestamp=rfc3339(now_ns()),
            )
            self._transport.write(self.wire.frame(encode(last_word, self.wire.codec)))
        self._protocol.send_close(code, reason)
        self.write_protocol()
        self._expect_end()
        self._server.left(self._connection)

    def announce_drain(self, retry_after_ms: int, within_ms: int) -> None:
        """Tell the client that this process will soon close the connection."""
        now = now_ns()
        message = ConnectionMessage(
            status="draining",
            reconnect_within_ms=within_ms,
            retry_after_ms=retry_after_ms,
            timestamp=rfc3339(now),
        )
        self.tell(message, now)
        self.flush()

    def abort(self) -> None:
        """Cut the connection off; what was to be written is not any more."""
        self.pending.clear()
        self._drop_descriptor()
        self._transport.abort()

    # ------------------------------------------------------------------ the way to the socket

    def route(self) -> int:
        """Its own descriptor while shared frames may pass by everything here.

        It has one from the first time on that a crowd it belongs to is written to: whoever is idle
        costs one open file and not two.
        """
        self._said_clear = self._is_clear()
        if not self._said_clear:
            return -1
        if self._fd < 0:
            self._fd = self._server.descriptors.own(self._transport)
        return self._fd

    def reroute(self) -> None:
        """Notice what may have closed that way, or opened it.

        To be called after whatever changes a condition; the library's state changes only while it
        is given bytes or told to close, both of which end in :meth:`write_protocol`.
        """
        if self._said_clear is not None and self._said_clear is not self._is_clear():
            self._said_clear = None
            self._server.bridge.fanout.out.rerouted()

    def _is_clear(self) -> bool:
        return (
            self.is_direct
            and not self._is_paused
            and not self._is_gone
            and self._protocol.state is _OPEN
        )

    def _drop_descriptor(self) -> None:
        """Nobody writes there any more, and then it is closed."""
        self._is_gone = True
        fd, self._fd = self._fd, -1
        self.reroute()
        if fd >= 0:
            self._server.descriptors.close(fd)

    def write_protocol(self) -> None:
        """Write what the library has to say: handshake, pongs, pings, close frames, the end."""
        for data in self._protocol.data_to_send():
            if data:
                self._pressure.written_bytes += len(data)
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        self.reroute()
        if self._protocol.close_expected():
            self._expect_end()
            self._server.left(self._connection)

    def _expect_end(self) -> None:
        """The connection should be over within the close timeout."""
        if not self._is_ending:
            self._is_ending = True
            self._due_in(self._settings.close_timeout_s)

    def _due_in(self, wait_s: float) -> None:
        self.deadline_ns = monotonic_ns() + int(wait_s * _NS)
        self._server.deadlines.watch(self._connection)
