"""The bridge's one connection to the bus, on the bridge's event loop.

Shell. :class:`~bus.client.connection.BusConnection` owns the socket and the inbox that puts what it
receives in order; this class gives it its place on the loop. The deliveries of one batch go to
``on_batch`` in one call, in order; :attr:`Upstream.is_connected` tells whether the broker is there.

``zmq.FD`` is edge-triggered and any call on the socket may swallow the edge: what was read to the
end, asked in between for whether there is more, leaves it to come; after every subscription it is
read again before sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.client.connection import SERVICE_INTERVAL_S, BusConnection
from bus.client.deliveries import Delivery
from bus.client.limits import InboxStats
from bus.runtime import get_logger
from bus.transport.sockets import ZmqContext

_log = get_logger("wsbridge.upstream")


class Upstream:
    """Subscribes to bus topics on demand and hands on what they deliver. One event loop.

    Raises :class:`~bus.errors.ConfigError` for an endpoint that cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        receive_hwm: int,
        on_batch: Callable[[list[Delivery]], None],
        context: ZmqContext | None = None,
    ) -> None:
        self._on_batch = on_batch
        self._endpoint = endpoint
        self._connection = BusConnection(endpoint, receive_hwm, None, context)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_read_due = False
        self._was_connected = False
        self.batches = 0

    def start(self) -> None:
        """Begin to serve on the running loop."""
        self._loop = loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.socket.fileno(), self._read)
        loop.add_reader(self._connection.monitor.socket.fileno(), self._service)
        self._turn()  # which also looks at what both sockets got before they were watched

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._connection.connected

    def subscribe(self, prefix: bytes) -> None:
        """Want the messages of a topic, or of all topics under a prefix: snapshot, then live.

        What they deliver comes in a later turn of the loop: whoever wants a topic is in the middle
        of one client's request, and another's must not complete inside it.
        """
        self._connection.subscribe(prefix, True)
        self._read_soon()

    def unsubscribe(self, prefix: bytes) -> None:
        """Want them no more."""
        self._connection.unsubscribe(prefix)
        self._read_soon()

    def stats(self) -> InboxStats:
        """What has been received, repaired and lost."""
        return self._connection.inbox.stats()

    def close(self) -> None:
        """Leave the loop and the bus."""
        if self._loop is not None:
            self._loop.remove_reader(self._connection.socket.fileno())
            self._loop.remove_reader(self._connection.monitor.socket.fileno())
            self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        self._connection.close()

    # ------------------------------------------------------------------ the loop's callbacks

    def _read(self) -> None:
        self._is_read_due = False
        if self._loop is None:
            return
        deliveries, empty = self._connection.read()
        self._hand_on(deliveries)
        if not empty:
            self._read_soon()

    def _read_soon(self) -> None:
        """Read in the next turn, after whatever else the loop has to do."""
        if self._loop is not None and not self._is_read_due:
            self._is_read_due = True
            self._loop.call_soon(self._read)

    def _service(self) -> None:
        """Notice what happened to the connection; ask again for what the broker owes us."""
        if self._loop is None:
            return
        self._hand_on(self._connection.service())
        self._read_soon()
        if self.is_connected != self._was_connected:
            self._was_connected = self.is_connected
            if self.is_connected:
                _log.info("broker connected", endpoint=self._endpoint)
            else:
                _log.warning("broker lost", endpoint=self._endpoint)

    def _turn(self) -> None:
        if self._loop is not None:
            self._timer = self._loop.call_later(SERVICE_INTERVAL_S, self._turn)
            self._service()

    def _hand_on(self, deliveries: list[Delivery]) -> None:
        if deliveries:
            self.batches += 1
            self._on_batch(deliveries)
