"""The bridge's one connection to the bus: a SUB socket drained in batches, an Inbox that orders it.

Shell. It owns the socket and its place on the event loop; what the frames mean is decided by
:class:`bus.client.inbox.Inbox`. The deliveries of one batch go to ``on_batch`` in one call, in
order; :attr:`Upstream.connected` tells whether the broker is there.

``zmq.FD`` is edge-triggered and any call on the socket may swallow the edge: after draining, and
after every subscription, EVENTS are looked at again before sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from bus.client.deliveries import Delivery, Subscribe
from bus.client.inbox import Inbox
from bus.client.limits import InboxStats
from bus.clock import monotonic_ns
from bus.runtime import get_logger
from bus.transport.monitor import Connection, SocketMonitor
from bus.transport.sockets import DONTWAIT, ZmqContext, new_context, subscriber_socket

BATCH = 256
"""Frames received before other callbacks of the loop get a turn."""

_SERVICE_S = 0.05

_log = get_logger("wsbridge.upstream")


class Upstream:
    """Subscribes to bus topics on demand and hands on what they deliver. One event loop."""

    def __init__(
        self,
        endpoint: str,
        *,
        receive_hwm: int,
        on_batch: Callable[[list[Delivery]], None],
        context: ZmqContext | None = None,
    ) -> None:
        self._on_batch = on_batch
        self._own_context = new_context() if context is None else None
        self._inbox = Inbox()
        self._endpoint = endpoint
        self._socket = subscriber_socket(
            context or self._own_context or new_context(), endpoint, receive_hwm=receive_hwm
        )
        self._monitor = SocketMonitor(self._socket)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drain_due = False
        self._was_connected = False
        self.connected = False
        self.messages_in = 0
        self.batches = 0

    def start(self) -> None:
        """Begin to serve on the running loop."""
        self._loop = loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.FD, self._on_readable)
        loop.add_reader(self._monitor.socket.FD, self._on_monitor)
        self._turn()  # which also looks at what both sockets got before their FDs were watched

    def subscribe(self, prefix: bytes) -> None:
        """Want the messages of a topic, or of all topics under a prefix: snapshot, then live."""
        self._inbox.subscribe(prefix, monotonic_ns())
        self._execute()

    def unsubscribe(self, prefix: bytes) -> None:
        """Want them no more."""
        self._inbox.unsubscribe(prefix, monotonic_ns())
        self._execute()

    def stats(self) -> InboxStats:
        """What the inbox has seen."""
        return self._inbox.stats()

    def close(self) -> None:
        """Leave the loop and the bus."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.FD)
            self._loop.remove_reader(self._monitor.socket.FD)
            self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        self._monitor.close()
        self._socket.close(linger=0)
        if self._own_context is not None:
            self._own_context.term()

    # ------------------------------------------------------------------ the loop's callbacks

    def _on_readable(self) -> None:
        self._drain_due = False
        if self._loop is None:
            return
        receive = self._socket.recv
        frames: list[bytes] = []
        try:
            for _ in range(BATCH):
                frames.append(receive(DONTWAIT))
        except zmq.Again:
            pass
        if frames:
            self.messages_in += len(frames)
            self.batches += 1
            self._inbox.receive_batch(frames, monotonic_ns())
        self._after_inbox()
        self._look_again()

    def _look_again(self) -> None:
        """Drain again in the next turn if the socket still has something (edge-triggered FD)."""
        if self._loop is None or self._drain_due:
            return
        if int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._drain_due = True
            self._loop.call_soon(self._on_readable)

    def _execute(self) -> None:
        """Execute the inbox's commands. Its deliveries wait for the loop's next turn.

        Whoever wants or drops a topic is in the middle of a request of some client: handing on
        deliveries here would let one client's request complete inside another's.
        """
        commands = self._inbox.take_commands()
        for command in commands:
            option = zmq.SUBSCRIBE if type(command) is Subscribe else zmq.UNSUBSCRIBE
            self._socket.setsockopt(option, command.key)
        if commands and self._loop is not None and not self._drain_due:
            self._drain_due = True
            self._loop.call_soon(self._on_readable)

    def _after_inbox(self) -> None:
        """Execute the inbox's commands, then hand on its deliveries."""
        self._execute()
        deliveries = self._inbox.take_deliveries()
        if deliveries:
            self._on_batch(deliveries)

    def _on_monitor(self) -> None:
        for happened in self._monitor.receive():
            if happened is Connection.UP:
                self._up()
            elif happened is Connection.DOWN:
                if self.connected:
                    _log.warning("broker lost", endpoint=self._endpoint)
                self.connected = False
            else:
                _log.error("broker refuses the connection", endpoint=self._endpoint)

    def _up(self) -> None:
        self.connected = True
        if self._was_connected:
            _log.info("broker is back", endpoint=self._endpoint)
            self._inbox.reconnected(monotonic_ns())
            self._after_inbox()
        self._was_connected = True

    def _turn(self) -> None:
        if self._loop is None:
            return
        self._timer = self._loop.call_later(_SERVICE_S, self._turn)
        self._on_monitor()
        if self._inbox.waiting:
            self._inbox.service(monotonic_ns())
        self._after_inbox()
        self._look_again()
