"""Ticks for programs on an asyncio loop (or uvloop).

::

    async with AsyncSubscriber(endpoint) as bus:
        bus.subscribe("md/trades/")
        async for event in bus:
            if isinstance(event, Update):
                print(event.tick.topic, event.tick.body)
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Self

from bus.client.connection import DEFAULT_HWM, SERVICE_INTERVAL_S, BusConnection
from bus.client.deliveries import Delivery
from bus.client.events import Decoding, Event, SubscriberStats
from bus.client.limits import InboxLimits
from bus.client.subscriber import name_of
from bus.errors import BusError
from bus.model.topic import Topic
from bus.transport.sockets import ZmqContext

MAX_PENDING: Final = 10_000
"""Events ready but not taken, from which on the socket is not read: ZeroMQ's marks apply then."""


class AsyncSubscriber:
    """As :class:`~bus.client.Subscriber`, with the same promises, on the running event loop.

    Made inside a coroutine. One task takes events, by ``async for`` or :meth:`recv`. When it is
    slow, at most ``MAX_PENDING`` events (and what one snapshot held back) wait decoded-on-demand;
    then the socket is left alone until half of them are taken.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        hwm: int = DEFAULT_HWM,
        limits: InboxLimits | None = None,
        context: ZmqContext | None = None,
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._connection: Final = BusConnection(endpoint, hwm, limits, context)
        self._decoding: Final = Decoding()
        self._ready: Final[deque[Delivery]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._soon: asyncio.Handle | None = None
        self._paused = False
        self._closed = False
        self._descriptors: Final = (
            self._connection.socket.fileno(),
            self._connection.monitor.socket.fileno(),
        )
        self._loop.add_reader(self._descriptors[0], self._read)
        self._loop.add_reader(self._descriptors[1], self._service)
        self._timer = self._loop.call_later(SERVICE_INTERVAL_S, self._tick)

    def subscribe(self, prefix: str | bytes | Topic, *, snapshot: bool = True) -> bool:
        """As :meth:`bus.client.Subscriber.subscribe`."""
        changed = self._connection.subscribe(name_of(prefix), snapshot)
        self._read_soon()
        return changed

    def unsubscribe(self, prefix: str | bytes | Topic) -> bool:
        """As :meth:`bus.client.Subscriber.unsubscribe`."""
        changed = self._connection.unsubscribe(name_of(prefix))
        self._read_soon()
        return changed

    def _read_soon(self) -> None:
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Read one batch. ZeroMQ's descriptor is edge-triggered, so unless the socket was found
        empty, and whenever something else was done to it, another turn is asked for."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._closed:
            return
        if len(self._ready) >= MAX_PENDING:
            self._paused = True
            return
        deliveries, empty = self._connection.read()
        if not empty:
            self._read_soon()
        self._hand_out(deliveries)

    def _service(self) -> None:
        if not self._closed:
            self._hand_out(self._connection.service())
            self._read_soon()  # executing commands may have taken the descriptor's edge

    def _tick(self) -> None:
        self._timer = self._loop.call_later(SERVICE_INTERVAL_S, self._tick)
        self._service()

    def _hand_out(self, deliveries: list[Delivery]) -> None:
        if deliveries:
            self._ready.extend(deliveries)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    async def recv(self, timeout: float | None = None) -> Event | None:
        """The next event, waiting up to ``timeout`` seconds (None: for ever); None when it is over.

        Raises :class:`~bus.errors.BusError` once closed.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._next()
        except TimeoutError:
            return None

    async def _next(self) -> Event:
        while True:
            event = self._take()
            if event is not None:
                return event
            if self._closed:
                raise BusError("the subscriber is closed")
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _take(self) -> Event | None:
        event: Event | None = None
        while event is None and self._ready:
            event = self._decoding.event(self._ready.popleft())
        if self._paused and len(self._ready) < MAX_PENDING // 2:
            self._paused = False
            self._read_soon()
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = self._take()
        if event is not None:
            return event
        try:
            return await self._next()
        except BusError:
            raise StopAsyncIteration from None

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
        """Free the socket and end iterations. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
        if self._soon is not None:
            self._soon.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._ready.clear()
        self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
