"""Ticks for programs without an event loop.

::

    with Subscriber(endpoint) as bus:
        bus.subscribe("md/trades/")
        while True:
            event = bus.recv(timeout=1.0)
            if isinstance(event, Update):
                print(event.tick.topic, event.tick.body)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import zmq

from bus.client.connection import DEFAULT_HWM, SERVICE_INTERVAL_S, BusConnection
from bus.client.deliveries import Delivery
from bus.client.events import Decoding, Event, SubscriberStats
from bus.client.limits import InboxLimits
from bus.clock import NS_PER_SECOND, monotonic_ns
from bus.errors import BusError
from bus.model.topic import Topic
from bus.transport.sockets import ZmqContext


class Subscriber:
    """Receives ticks from the broker, in the caller's thread.

    ``endpoint`` is where the broker serves subscribers (``settings.endpoints.subscribe``); it need
    not be there yet, and may go and come back: every subscription is then brought up to date by a
    new snapshot and replay. ``hwm`` (messages, 0 = no limit) bounds what waits here while the
    program does not call :meth:`recv`; what is dropped beyond it is repaired by replay where the
    broker still has it, else reported as a :class:`Gap`.

    Promises, per topic: every tick at most once, in the publisher's order, snapshot before live; on
    event and delta topics nothing is left out without a :class:`Gap` or :class:`EpochChange`; on
    state topics the newest arrives. Nothing is promised about the order between topics.

    Not thread-safe. Raises :class:`~bus.errors.ConfigError` for an endpoint that cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        hwm: int = DEFAULT_HWM,
        limits: InboxLimits | None = None,
        context: ZmqContext | None = None,
    ) -> None:
        self._connection: Final = BusConnection(endpoint, hwm, limits, context)
        self._decoding: Final = Decoding()
        self._ready: Final[deque[Delivery]] = deque()
        self._poller: Final = zmq.Poller()
        self._poller.register(self._connection.socket, zmq.POLLIN)
        self._poller.register(self._connection.monitor.socket, zmq.POLLIN)
        self._next_service_ns = 0
        self._closed = False

    def subscribe(self, prefix: str | bytes | Topic, *, snapshot: bool = True) -> bool:
        """Receive every topic under ``prefix``, which ends in ``/``, or one :class:`Topic`.

        With ``snapshot`` what the broker remembers comes first, then :class:`SnapshotEnd`. False if
        that very prefix is subscribed already. Raises :class:`~bus.errors.TopicError`.
        """
        return self._connection.subscribe(name_of(prefix), snapshot)

    def unsubscribe(self, prefix: str | bytes | Topic) -> bool:
        """Receive ``prefix`` no more; ticks received before may still be returned."""
        return self._connection.unsubscribe(name_of(prefix))

    def recv(self, timeout: float | None = None) -> Event | None:
        """The next event, waiting up to ``timeout`` seconds (None: for ever); None when it is over.

        Raises :class:`~bus.errors.BusError` after :meth:`close`.
        """
        if self._closed:
            raise BusError("the subscriber is closed")
        deadline_ns = None if timeout is None else monotonic_ns() + int(timeout * NS_PER_SECOND)
        while True:
            while self._ready:
                event = self._decoding.event(self._ready.popleft())
                if event is not None:
                    return event
            self._pump()
            if self._ready:
                continue
            wait_s = SERVICE_INTERVAL_S
            if deadline_ns is not None:
                left_ns = deadline_ns - monotonic_ns()
                if left_ns <= 0:
                    return None
                wait_s = min(wait_s, left_ns / NS_PER_SECOND)
            self._poller.poll(max(1, round(wait_s * 1_000)))

    def _pump(self) -> None:
        deliveries, empty = self._connection.read()
        self._ready.extend(deliveries)
        now_ns = monotonic_ns()
        if empty or now_ns >= self._next_service_ns:
            self._next_service_ns = now_ns + int(SERVICE_INTERVAL_S * NS_PER_SECOND)
            self._ready.extend(self._connection.service())

    def __iter__(self) -> Iterator[Event]:
        """Events for ever; ends when the subscriber is closed by the loop's body."""
        while not self._closed:
            event = self.recv()
            if event is not None:
                yield event

    def stats(self) -> SubscriberStats:
        """What has happened so far; a frozen value."""
        connection = self._connection
        return SubscriberStats(
            connected=connection.connected,
            reconnections=max(0, connection.connections - 1),
            undecodable=self._decoding.undecodable,
            pending=len(self._ready),
            inbox=connection.inbox.stats(),
        )

    def close(self) -> None:
        """Free the socket. May be repeated."""
        self._closed = True
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def name_of(prefix: str | bytes | Topic) -> str | bytes:
    """A prefix as given, a topic by its name."""
    return prefix.name if isinstance(prefix, Topic) else prefix
