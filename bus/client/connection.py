"""One SUB socket and its inbox: what the blocking and the asyncio subscriber have in common.

It reads without blocking, executes the inbox's commands and notices reconnections. It waits for
nothing and has no loop.
"""

from __future__ import annotations

from typing import Final

import zmq

from bus.client.deliveries import Delivery, Subscribe
from bus.client.inbox import Inbox
from bus.client.limits import InboxLimits
from bus.clock import monotonic_ns
from bus.errors import BusError
from bus.transport.monitor import Connection, SocketMonitor
from bus.transport.sockets import (
    DONTWAIT,
    ZmqContext,
    ZmqSocket,
    connect,
    new_context,
    subscriber_socket,
)

BATCH: Final = 256
"""Frames read before the caller gets its turn again."""
SERVICE_INTERVAL_S: Final = 0.1
_POLLIN: Final = int(zmq.POLLIN)  # arithmetic with members of an enum is slow
DEFAULT_HWM: Final = 100_000


class BusConnection:
    """See the module. Raises :class:`~bus.errors.ConfigError` for an unusable endpoint."""

    def __init__(
        self, endpoint: str, hwm: int, limits: InboxLimits | None, context: ZmqContext | None
    ) -> None:
        self._own_context = new_context() if context is None else None
        try:
            self.socket: Final[ZmqSocket] = subscriber_socket(
                context or self._own_context or new_context(), endpoint, receive_hwm=hwm
            )
            # Watch first, connect then: a missed first UP would hide the first reconnection.
            self.monitor: Final = SocketMonitor(self.socket)
            connect(self.socket, endpoint)
        except BaseException:
            if self._own_context is not None:
                self._own_context.destroy(linger=0)
            raise
        self.inbox: Final = Inbox(limits)
        self.connected = False
        self.connections = 0

    def subscribe(self, prefix: str | bytes, snapshot: bool) -> bool:
        """As :meth:`Inbox.subscribe`, executed. Raises :class:`~bus.errors.BusError` if closed."""
        self._check_open()
        changed = self.inbox.subscribe(prefix, monotonic_ns(), snapshot=snapshot)
        self.execute()
        return changed

    def unsubscribe(self, prefix: str | bytes) -> bool:
        """As :meth:`Inbox.unsubscribe`, executed. Raises BusError if closed."""
        self._check_open()
        changed = self.inbox.unsubscribe(prefix, monotonic_ns())
        self.execute()
        return changed

    def _check_open(self) -> None:
        if self.socket.closed:
            raise BusError("the subscriber is closed")

    def execute(self) -> bool:
        """Do what the inbox asks for, in its order; whether there was anything."""
        commands = self.inbox.take_commands()
        for command in commands:
            if command.__class__ is Subscribe:
                self.socket.subscribe(command.key)
            else:
                self.socket.unsubscribe(command.key)
        return bool(commands)

    def read(self) -> tuple[list[Delivery], bool]:
        """Read up to ``BATCH`` frames: the deliveries, and whether the socket was left empty.

        Empty: the socket's descriptor will tell when there is more. Mostly one frame has come, and
        asking for another costs more than twice of asking whether there is one; so does many of
        them, but once.
        """
        receive = self.socket.recv
        frames: list[bytes] = []
        try:
            frames.append(receive(DONTWAIT))
            if self._has_input():
                for _ in range(BATCH - 1):
                    frames.append(receive(DONTWAIT))
        except zmq.Again:
            pass
        if not frames:
            return [], True
        self.inbox.receive(frames, monotonic_ns())
        executed = self.execute()
        empty = len(frames) < BATCH and not (executed and self._has_input())
        return self.inbox.take_deliveries(), empty

    def _has_input(self) -> bool:
        events = self.socket.getsockopt(zmq.EVENTS)
        assert isinstance(events, int), "a number, by the option"
        return events & _POLLIN != 0

    def service(self) -> list[Delivery]:
        """Notice reconnections and answers that are late; the deliveries that follow from it."""
        now_ns = monotonic_ns()
        for happened in self.monitor.receive():
            if happened is Connection.UP:
                self.connections += 1
                if self.connections > 1:
                    self.inbox.reconnected(now_ns)
            self.connected = happened is Connection.UP
        self.inbox.service(now_ns)
        self.execute()
        return self.inbox.take_deliveries()

    def close(self) -> None:
        """Free the socket; may be repeated."""
        if not self.socket.closed:
            self.monitor.close()
            self.socket.close()
        if self._own_context is not None:
            self._own_context.term()
