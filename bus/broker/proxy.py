"""The broker's two threads: the C proxy, and the cache that listens and answers beside it.

The proxy thread runs ``zmq.proxy_steerable`` and no Python per message. The cache's loop runs on
the thread that made the :class:`Broker`: an in-process SUB shows it everything under ``md/`` and
``sys/``, an in-process XPUB shows it every subscription and carries its answers.

Why requests are answered from a drained socket: the proxy thread forwards a message to the cache
before it forwards a subscription that arrived after that message. So once the cache has seen the
subscription and then found its own socket empty, it has stored everything the consumer's live
subscription, which came first, may have missed.
"""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import dataclass
from typing import Final

import zmq

from bus.broker.answers import Answers, AnswerStats
from bus.broker.last_value_cache import CacheStats, LastValueCache
from bus.clock import NS_PER_MS, monotonic_ns, now_ns
from bus.config.broker import BrokerSettings
from bus.errors import BusError
from bus.transport.sockets import (
    DONTWAIT,
    ZmqSocket,
    bind,
    cache_outlet,
    cache_tap,
    control_pair,
    new_context,
    proxy_egress,
    proxy_ingress,
    raw_send,
)

_INGRESS: Final = "inproc://ingress"
_EGRESS: Final = "inproc://egress"
_CONTROL: Final = "inproc://control"

BATCH: Final = 1_000
"""Messages handed to the cache at once."""
BATCHES_A_TURN: Final = 10
"""Batches before the loop looks at requests and heartbeats again."""
ANSWERS_A_TURN: Final = 2_000
"""Answer frames before the loop drains its socket again."""
NAP_MS: Final = 2
"""Longest the cache lets messages lie while they flow: at 500,000/s, 2 ms of them still fit the
processor's cache, 5 ms cost a fifth more each. A request wakes it at once, so this delays
nobody; waking for each message would cost ten times what storing it does."""
IDLE_NAP_MS: Final = 50
PROBE_INTERVAL_NS: Final = 250 * NS_PER_MS
PROBE_LOST_NS: Final = 10_000 * NS_PER_MS
PROBE_LOST_TURNS: Final = 100
"""A probe counts as lost after so long and so many turns: a suspended process has no turns."""
_STOP_S: Final = 5.0
_SWEEP_INTERVAL_NS: Final = 1_000 * NS_PER_MS
_COUNTS_INTERVAL_NS: Final = 500 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What passed through, and how far the cache is behind."""

    messages_in: int
    """Messages from publishers and the cache's own answers, as counted by the proxy."""
    bytes_in: int
    """Their bytes."""
    messages_out: int
    """Messages handed to the side of the subscribers, each counted once."""
    cache_lag_ms: float
    """How long the last probe took through the proxy and the cache's queue; up to ``NAP_MS`` of
    it is the cache's own rest."""
    cache_lag_peak_ms: float
    """The most since the start."""
    cache: CacheStats
    answers: AnswerStats


class Broker:
    """Binds the two endpoints and serves until :meth:`close`.

    Raises :class:`~bus.errors.ConfigError` for an endpoint that cannot be used and
    :class:`~bus.errors.BusError` for one that is busy or cannot be written; nothing stays open
    then. The thread that makes a broker calls :meth:`turn` over and over.
    """

    def __init__(self, settings: BrokerSettings, publish: str, subscribe: str) -> None:
        self._probe_key: Final = f"probe/{os.urandom(8).hex()}/".encode()
        self.cache: Final = LastValueCache(settings, self._probe_key)
        self.answers: Final = Answers(self.cache, settings.answer_rate, settings.send_hwm)
        self._context: Final = new_context()
        try:
            self._ingress = proxy_ingress(self._context, receive_hwm=settings.receive_hwm)
            self._egress = proxy_egress(self._context, send_hwm=settings.send_hwm)
            bind(self._ingress, _INGRESS)
            bind(self._egress, _EGRESS)
            self._tap = cache_tap(self._context, _EGRESS)
            self.outlet: Final[ZmqSocket] = cache_outlet(self._context, _INGRESS)
            self._listen()
            self._steered = control_pair(self._context, _CONTROL, binds=True)
            self._steering = control_pair(self._context, _CONTROL, binds=False)
            self.publish: Final = bind(self._ingress, publish, "broker.publish")
            self.subscribe: Final = bind(self._egress, subscribe, "broker.subscribe")
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._send = raw_send(self.outlet)
        self._receive = self._tap.recv
        self._failure = ""
        self._thread = threading.Thread(target=self._proxy, name="proxy", daemon=True)
        self._messages_in = self._bytes_in = self._messages_out = 0
        self._lag_ns = self._lag_peak_ns = 0
        self._probes_sent = 0
        self._probe_sent_ns = self._last_probe_ns = self._turns_since_probe = 0
        self._next_sweep_ns = self._next_counts_ns = 0
        self._nap_ms = IDLE_NAP_MS
        self._counts_asked = False
        self._busy = False
        self._thread.start()

    def _listen(self) -> None:
        """Subscribe the tap, and carry that to the publishers' side before anybody can connect.

        So a publisher's first message finds the cache listening.
        """
        keys = (b"md/", b"sys/", self._probe_key)
        for key in keys:
            self._tap.subscribe(key)
        for _ in keys:
            if not self._egress.poll(1_000):
                raise BusError("the broker's own subscription did not arrive")
            self._ingress.send(self._egress.recv())

    def _proxy(self) -> None:
        try:
            zmq.proxy_steerable(self._ingress, self._egress, None, self._steered)
        except zmq.ZMQError as error:
            self._failure = str(error)

    def turn(self, poller: zmq.Poller) -> None:
        """One turn: wait a little, take requests, store what passed, answer, look after things.

        ``poller`` must include :attr:`outlet`; anything else in it ends the wait early too. Raises
        :class:`~bus.errors.BusError` when the proxy thread ended or nothing passes it any more.
        """
        nap_ms = NAP_MS if self._probe_sent_ns else self._nap_ms
        poller.poll(0 if self._busy else 1 if self.answers.waiting else nap_ms)
        self._take_requests(monotonic_ns())
        drained = self._drain()
        ticket = self._probes_sent if drained else self.cache.probes - 1
        if self.answers.waiting:
            self._answer(ticket)
        self._busy = not drained
        self._look_after(monotonic_ns())

    def _take_requests(self, now: int) -> None:
        for _ in range(BATCH):
            try:
                message = self.outlet.recv(DONTWAIT)
            except zmq.Again:
                return
            self.answers.on_subscription(message, self._probes_sent, now)

    def _drain(self) -> bool:
        """Store what the proxy forwarded; whether the socket was found empty."""
        receive = self._receive
        for batch in range(BATCHES_A_TURN):
            frames: list[bytes] = []
            take = frames.append
            try:
                for _ in range(BATCH):
                    take(receive(DONTWAIT))
            except zmq.Again:
                self._store(frames)
                self._nap_ms = NAP_MS if frames or batch else IDLE_NAP_MS
                return True
            self._store(frames)
        return False

    def _store(self, frames: list[bytes]) -> None:
        self.cache.store(frames)
        if self._probe_sent_ns and self.cache.probes == self._probes_sent:
            self._lag_ns = monotonic_ns() - self._probe_sent_ns
            self._lag_peak_ns = max(self._lag_peak_ns, self._lag_ns)
            self._probe_sent_ns = 0

    def _answer(self, ticket: int) -> None:
        for frame in self.answers.frames(ticket, ANSWERS_A_TURN, monotonic_ns()):
            self._send(frame, DONTWAIT)

    def _look_after(self, now: int) -> None:
        if self._failure or not self._thread.is_alive():
            raise BusError(f"the proxy thread ended: {self._failure or 'no reason given'}")
        if self._probe_sent_ns == 0:
            if now - self._last_probe_ns >= PROBE_INTERVAL_NS:
                self._last_probe_ns = self._probe_sent_ns = now
                self._turns_since_probe = 0
                self._probes_sent += 1
                self._send(self._probe_key + b"\0", DONTWAIT)
        elif self._turns_since_probe > PROBE_LOST_TURNS and (
            now - self._probe_sent_ns > PROBE_LOST_NS
        ):
            raise BusError("nothing passes the proxy any more: the cache's probe did not return")
        self._turns_since_probe += 1
        if now >= self._next_sweep_ns:
            self._next_sweep_ns = now + _SWEEP_INTERVAL_NS
            self.cache.sweep(now_ns())
        if now >= self._next_counts_ns:
            self._next_counts_ns = now + _COUNTS_INTERVAL_NS
            self._take_counts()

    def _take_counts(self) -> None:
        """Ask the proxy for its counts; the answer is read the next time."""
        if self._counts_asked:
            try:
                counts = [struct.unpack("=Q", part)[0] for part in self._read_counts()]
            except zmq.Again:
                return
            # Towards publishers: received, bytes, sent, bytes; then the same towards subscribers.
            self._messages_in, self._bytes_in, self._messages_out = counts[0], counts[1], counts[6]
        self._steering.send(b"STATISTICS", DONTWAIT)
        self._counts_asked = True

    def _read_counts(self) -> list[bytes]:
        parts: list[bytes] = self._steering.recv_multipart(DONTWAIT)
        return parts

    @property
    def lag_ms(self) -> float:
        """How far the cache was behind when last measured."""
        return self._lag_ns / NS_PER_MS

    def stats(self) -> BrokerStats:
        """The figures, frozen; the proxy's counts are up to a second old."""
        return BrokerStats(
            messages_in=self._messages_in,
            bytes_in=self._bytes_in,
            messages_out=self._messages_out,
            cache_lag_ms=self._lag_ns / NS_PER_MS,
            cache_lag_peak_ms=self._lag_peak_ns / NS_PER_MS,
            cache=self.cache.stats(),
            answers=self.answers.stats(),
        )

    def close(self) -> None:
        """Stop the proxy, give what is queued for subscribers half a second, free everything."""
        if self._thread.is_alive():
            self._steering.send(b"TERMINATE")
            self._thread.join(_STOP_S)
        if self._thread.is_alive():
            return  # it still owns its sockets: closing them under it would crash the process
        for socket in (self._tap, self.outlet, self._steering, self._steered):
            socket.close(linger=0)
        self._ingress.close()
        self._egress.close()
        self._context.term()
