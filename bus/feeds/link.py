"""A websockets connection that hands its frames over inside the read callback.

All frames of one read go to the handler at once, with the time the read returned. There is no
queue between the socket and the handler, hence nothing that could overflow or drop: while a
handler works, the kernel's buffer fills and TCP slows the venue down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from bus.clock import monotonic_ns, now_ns
from bus.feeds.capture import ConnectionTap

YIELD_AFTER_NS: Final = 20_000_000
"""A handler that worked this long lets the loop breathe before the next read."""


class Link(ClientConnection):
    """A websockets connection that hands whole frames over in the read callback."""

    on_frames: Callable[[Link, Sequence[bytes], int], None]
    on_ping: Callable[[], None]
    tap: ConnectionTap | None = None
    handler_error: BaseException | None = None
    last_frame_mono_ns: int = 0
    frames_in: int = 0
    bytes_in: int = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received_data = asyncio.Event()
        self.shutdown_announced = asyncio.Event()
        self._batch: list[bytes] = []
        self._fragments: list[bytes] = []
        self._recv_ns = 0

    def data_received(self, data: bytes) -> None:
        """One read from the socket."""
        recv_ns = now_ns()
        started_ns = self.last_frame_mono_ns = monotonic_ns()
        self.bytes_in += len(data)
        super().data_received(data)
        batch = self._batch
        if not batch:
            return
        self._batch = []
        self.frames_in += len(batch)
        if self.handler_error is not None:
            return
        if self.tap is not None:
            self.tap.frames(batch, recv_ns)
        try:
            self.on_frames(self, batch, recv_ns)
        except Exception as error:  # noqa: BLE001 - a bug of ours: raised again by the session
            self.handler_error = error
            self.transport.abort()
            return
        if monotonic_ns() - started_ns > YIELD_AFTER_NS:
            self._breathe()

    async def send(self, message: Any, *args: Any, again: bool = False, **kwargs: Any) -> None:
        """Send a message; captured first, so that whatever it brings about comes after it."""
        if self.tap is not None and isinstance(message, str):
            self.tap.sent(message, again=again)
        await super().send(message, *args, **kwargs)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        if self.tap is not None:
            protocol = self.protocol
            left = protocol.close_sent is not None and not protocol.close_rcvd_then_sent
            self.tap.closed(protocol.close_code, left=left, detail=protocol.close_reason or "")

    def process_event(self, event: Any) -> None:
        """Collect data frames; everything else is the library's business."""
        if type(event) is not Frame:
            super().process_event(event)
            return
        opcode = event.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if event.fin:
                self._batch.append(bytes(event.data))
            else:
                self._fragments = [bytes(event.data)]
        elif opcode is Opcode.CONT:
            self._fragments.append(bytes(event.data))
            if event.fin:
                self._batch.append(b"".join(self._fragments))
                self._fragments = []
        else:
            if opcode is Opcode.PING:
                self.on_ping()
            super().process_event(event)

    def _breathe(self) -> None:
        """Stop reading for one turn of the loop, so that timers and other sockets get theirs."""
        if self.transport.is_closing() or not self.transport.is_reading():
            return
        self.transport.pause_reading()

        def go_on() -> None:
            if not self.transport.is_closing():
                self.transport.resume_reading()

        self.loop.call_soon(go_on)
