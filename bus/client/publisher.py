"""How a program puts ticks on the bus.

One :class:`Publisher` a process, one :class:`TopicWriter` a topic. Publishing never blocks and
never waits for anybody: a message that finds no room is dropped, counted, and leaves a hole in the
topic's ``seq`` that every consumer sees.

This module decides nothing about the content of ticks and keeps no history: the broker does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import zmq

from bus.clock import NS_PER_MS, now_ns
from bus.errors import BusError
from bus.model.streams import STREAMS, StreamKind
from bus.model.tick import Body
from bus.model.topic import Topic
from bus.transport.sockets import (
    DONTWAIT,
    ZmqContext,
    ZmqSocket,
    new_context,
    publisher_socket,
    raw_send,
)
from bus.wire.codec import SEPARATOR, encode_payload
from bus.wire.topic import check_topic

DEFAULT_HWM: Final = 100_000
_LINGER_MS: Final = 1_000
_SERVICE_INTERVAL_S: Final = 0.05
_SERVICE_EVERY: Final = 0xFF  # with no loop attached, every 256th message of a topic

_SUBSCRIBED: Final = {b"\x01md/": b"md/", b"\x01sys/": b"sys/"}
"""What the broker's cache subscribes to, each time it attaches."""


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """What a publisher has done since it was made."""

    topics: int
    """Topics that have a writer."""
    messages: int
    """Messages published, dropped ones included."""
    dropped: int
    """Messages dropped at the high-water mark: consumers see each as a gap."""
    attached: int
    """Times the broker attached: 1 after the first connection, more after restarts of it."""
    republished: int
    """Last values sent again because the broker attached."""


class Publisher:
    """Publishes ticks through the broker.

    ``endpoint`` is where the broker takes publishers (``settings.endpoints.publish``). ``epoch`` is
    this publisher's start in ms since 1970 (default: now); it must be greater than the epoch of any
    earlier publisher of the same topics. ``hwm`` is how many messages may wait for the broker (0 =
    no limit); while it is away they wait here, and beyond the mark they are dropped and counted.

    Messages published before the broker's first subscription arrives go nowhere; once it does, the
    last value of every state topic is sent (again), here and after every restart of the broker,
    with its own (epoch, seq). For that :meth:`attach_loop` or, in programs without an event loop,
    :meth:`service` must be used. Not thread-safe: one thread, or one event loop, a publisher.

    Raises :class:`~bus.errors.ConfigError` for an endpoint that cannot be used.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        epoch: int | None = None,
        hwm: int = DEFAULT_HWM,
        context: ZmqContext | None = None,
    ) -> None:
        self.epoch: Final = now_ns() // NS_PER_MS if epoch is None else epoch
        self._own_context = new_context() if context is None else None
        self._writers: dict[Topic, TopicWriter] = {}
        self._on_reconnect: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._attached = 0
        self._republished = 0
        self._republish_dropped = 0
        try:
            self._socket: ZmqSocket = publisher_socket(
                self._own_context or context or new_context(),
                endpoint,
                send_hwm=hwm,
                linger_ms=_LINGER_MS,
            )
        except BaseException:
            if self._own_context is not None:
                self._own_context.destroy(linger=0)
            raise
        self._send = raw_send(self._socket)

    def writer(self, topic: Topic) -> TopicWriter:
        """The writer of ``topic``: the same one on every call, so that its ``seq`` is one count.

        Raises :class:`~bus.errors.TopicError` for a topic that is not well-formed.
        """
        found = self._writers.get(topic)
        if found is None:
            found = TopicWriter(self, check_topic(topic), self._send)
            self._writers[topic] = found
        return found

    def attach_loop(self, on_reconnect: Callable[[], None] | None = None) -> None:
        """Let the running event loop call :meth:`service` 20 times a second until :meth:`close`.

        ``on_reconnect`` is called on that loop, after the last values were sent, each time the
        broker (re)attaches while something had been published before: a feed then publishes what
        the broker's cache cannot know, such as a fresh depth snapshot.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._on_reconnect = on_reconnect
        self._loop = asyncio.get_running_loop()
        self._tick()

    def _tick(self) -> None:
        # A timer instead of a reader on ZeroMQ's FD: it is edge-triggered and every send() may
        # swallow its edge, so that a reader alone would miss a subscription now and then.
        loop = self._loop
        if loop is not None:
            self._timer = loop.call_later(_SERVICE_INTERVAL_S, self._tick)
            self.service()

    def service(self) -> int:
        """Take notice of the broker (re)attaching; how many times it did since the last call.

        Programs without an event loop call this a few times a second; publishing does so too,
        every 256 messages of a topic.
        """
        times = 0
        while True:
            try:
                root = _SUBSCRIBED.get(self._socket.recv(DONTWAIT))
            except zmq.Again:
                return times
            if root is None:
                continue
            self._republish(root)
            if root == b"md/":
                times += 1
                self._attached += 1
                if self._on_reconnect is not None and any(
                    writer.seq for writer in self._writers.values()
                ):
                    self._on_reconnect()

    def _republish(self, root: bytes) -> None:
        for writer in list(self._writers.values()):
            frame = writer.last_frame
            if frame is None or not frame.startswith(root):
                continue
            try:
                self._send(frame, DONTWAIT)
            except zmq.Again:
                self._republish_dropped += 1
            else:
                self._republished += 1

    def stats(self) -> PublisherStats:
        """What has happened so far; a frozen value."""
        writers = self._writers.values()
        return PublisherStats(
            topics=len(writers),
            messages=sum(writer.seq for writer in writers),
            dropped=sum(writer.dropped for writer in writers) + self._republish_dropped,
            attached=self._attached,
            republished=self._republished,
        )

    def close(self) -> None:
        """Send what still waits, for at most a second, and free the socket. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._socket.close()
        if self._own_context is not None:
            self._own_context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TopicWriter:
    """Publishes one topic; made by :meth:`Publisher.writer`.

    ``seq`` is that of the last message published, 0 before the first. ``dropped`` counts messages
    that found the high-water mark reached. ``last_frame`` is what a state topic would send again.
    """

    __slots__ = (
        "_body_type",
        "_epoch",
        "_head",
        "_is_state",
        "_publisher",
        "_send",
        "dropped",
        "last_frame",
        "seq",
        "topic",
    )

    def __init__(
        self, publisher: Publisher, topic: Topic, send: Callable[[bytes, int], object]
    ) -> None:
        spec = STREAMS[topic.stream]
        self.topic: Final = topic
        self.seq = 0
        self.dropped = 0
        self.last_frame: bytes | None = None
        self._head: Final = topic.key + SEPARATOR
        self._epoch: Final = publisher.epoch
        self._body_type: Final = spec.body_type
        self._is_state: Final = spec.kind is StreamKind.STATE
        self._publisher: Final = publisher
        self._send: Final = send

    def publish(self, body: Body, *, venue_ts_ns: int | None, recv_ts_ns: int) -> int:
        """Publish ``body`` and return its ``seq``. Never blocks.

        ``venue_ts_ns`` is the venue's time (``None`` where it gives none), ``recv_ts_ns`` when the
        bytes arrived here; both ns since 1970. Raises TypeError when ``body`` is not the struct of
        this topic's stream; its numbers are trusted (finite, no NaN). Raises
        :class:`~bus.errors.BusError` after :meth:`Publisher.close`.
        """
        if body.__class__ is not self._body_type:
            raise TypeError(f"{self.topic.name} carries {self._body_type.__name__}, not {body!r}")
        seq = self.seq + 1
        frame = self._head + encode_payload(
            self._epoch, seq, venue_ts_ns, recv_ts_ns, now_ns(), body
        )
        self.seq = seq  # only now: a body that cannot be encoded must not leave a hole
        if self._is_state:
            self.last_frame = frame
        try:
            self._send(frame, DONTWAIT)
        except zmq.Again:
            self.dropped += 1
        except zmq.ZMQError:
            raise BusError("the publisher is closed") from None
        if not seq & _SERVICE_EVERY:
            self._publisher.service()
        return seq
