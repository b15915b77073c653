"""The bus's own ZeroMQ sockets: every option explicit, every endpoint checked.

Nothing above this module calls ``Context.socket``. What each socket promises at its high-water
mark is said where it is made; no default of ZeroMQ's is relied on.
"""

from __future__ import annotations

import errno
import os
import socket as os_socket
from collections.abc import Callable
from typing import Final

import zmq

from bus.endpoint import check_endpoint
from bus.errors import BusError
from bus.wire.codec import MAX_FRAME_BYTES

ZmqContext = zmq.Context[zmq.Socket[bytes]]
ZmqSocket = zmq.Socket[bytes]

_DRAIN_MS: Final = 500  # what the broker still has for its subscribers when it stops
_RECONNECT_MS: Final = 20
_RECONNECT_MAX_MS: Final = 500
_TCP_HEARTBEAT_MS: Final = 5_000
_TCP_HEARTBEAT_TIMEOUT_MS: Final = 15_000


def new_context() -> ZmqContext:
    """A context of its own with one I/O thread; whoever asks for it terminates it."""
    return zmq.Context(io_threads=1)


def publisher_socket(
    context: ZmqContext, endpoint: str, *, send_hwm: int, linger_ms: int
) -> ZmqSocket:
    """A publisher's end, connected to the broker's ``publish`` endpoint.

    An XPUB rather than a PUB, for two things a PUB cannot tell: the broker's subscriptions arrive
    as messages, again after every reconnection (XPUB_VERBOSE), and a send that would be dropped at
    ``send_hwm`` (messages, 0 = no limit) raises ``zmq.Again`` instead (XPUB_NODROP).
    """
    socket = _socket(context, zmq.XPUB, endpoint, linger_ms=linger_ms)
    socket.setsockopt(zmq.SNDHWM, send_hwm)
    socket.setsockopt(zmq.RCVHWM, 0)  # subscriptions: small, and losing one loses a topic
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    return connect(socket, endpoint)


def subscriber_socket(context: ZmqContext, endpoint: str, *, receive_hwm: int) -> ZmqSocket:
    """A consumer's end for the broker's ``subscribe`` endpoint, unconnected (see :func:`connect`).

    So a monitor can be attached first, and sees the first handshake too.

    At ``receive_hwm`` (messages, 0 = no limit) the broker's queue for this consumer fills next;
    beyond that ZeroMQ drops silently, which the consumer sees as a gap in (epoch, seq).
    """
    socket = _socket(context, zmq.SUB, endpoint, linger_ms=0)
    socket.setsockopt(zmq.RCVHWM, receive_hwm)
    return socket


def proxy_ingress(context: ZmqContext, *, receive_hwm: int) -> ZmqSocket:
    """The broker's side towards publishers, not yet bound.

    At ``receive_hwm`` the publisher's own queue fills next. A frame over ``MAX_FRAME_BYTES`` ends
    the connection it came on.
    """
    socket = _socket(context, zmq.XSUB, "", linger_ms=0)
    socket.setsockopt(zmq.RCVHWM, receive_hwm)
    socket.setsockopt(zmq.SNDHWM, 0)  # subscriptions: never dropped
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    return socket


def proxy_egress(context: ZmqContext, *, send_hwm: int) -> ZmqSocket:
    """The broker's side towards subscribers, not yet bound.

    At ``send_hwm`` messages queued for one subscriber ZeroMQ drops for that subscriber alone.
    XPUB_VERBOSE stays off on purpose: every request has its own id, so the first subscription is
    the only one; and the upstream side counts subscriptions, which repeated ones would unbalance.
    """
    socket = _socket(context, zmq.XPUB, "", linger_ms=_DRAIN_MS)
    socket.setsockopt(zmq.SNDHWM, send_hwm)
    socket.setsockopt(zmq.RCVHWM, 0)  # subscriptions: never dropped
    socket.setsockopt(zmq.MAXMSGSIZE, 4_096)  # what a subscriber sends is a subscription
    return socket


def cache_tap(context: ZmqContext, endpoint: str) -> ZmqSocket:
    """The cache's in-process SUB. No high-water mark: it must see all that the proxy forwards."""
    socket = _socket(context, zmq.SUB, endpoint, linger_ms=0)
    socket.setsockopt(zmq.RCVHWM, 0)
    return connect(socket, endpoint)


def cache_outlet(context: ZmqContext, endpoint: str) -> ZmqSocket:
    """The cache's in-process XPUB: subscriptions in, answers out. No high-water mark."""
    socket = _socket(context, zmq.XPUB, endpoint, linger_ms=0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    return connect(socket, endpoint)


def control_pair(context: ZmqContext, endpoint: str, *, binds: bool) -> ZmqSocket:
    """One end of the in-process line to the proxy thread: commands there, counts back."""
    socket = _socket(context, zmq.PAIR, "", linger_ms=0)
    socket.setsockopt(zmq.SNDHWM, 1_000)
    socket.setsockopt(zmq.RCVHWM, 1_000)
    if binds:
        socket.bind(endpoint)
        return socket
    return connect(socket, endpoint)


def bind(socket: ZmqSocket, endpoint: str, key: str = "endpoint") -> str:
    """Bind and return the endpoint in force (a tcp port 0 is resolved).

    An ipc socket is made mode 0600, and a live one is never taken over: ZeroMQ would silently
    unlink it. Raises :class:`~bus.errors.ConfigError` for a bad endpoint and
    :class:`~bus.errors.BusError` for one that is busy or cannot be written.
    """
    check_endpoint(endpoint, key)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    path = endpoint.removeprefix("ipc://") if endpoint.startswith("ipc://") else ""
    if path and _is_served(path):
        raise BusError(f"cannot bind {endpoint}: another process serves it")
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise BusError(f"cannot bind {endpoint}: {_reason(error)}") from None
    if path:
        os.chmod(path, 0o600)  # noqa: PTH101  # every program of the bus would import pathlib
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _is_served(path: str) -> bool:
    """Whether somebody accepts connections on the ipc socket at ``path``."""
    with os_socket.socket(os_socket.AF_UNIX, os_socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except TimeoutError:
            return True  # a full backlog: somebody listens, slowly
        except OSError:
            return False
        return True


def _reason(error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use"
    if error.errno == errno.ENOENT:
        return "its directory does not exist"
    return error.strerror or f"error {error.errno}"


DONTWAIT: Final = zmq.DONTWAIT.value
"""The flag for :func:`raw_send`, as the plain integer that costs nothing to pass."""


def raw_send(socket: ZmqSocket) -> Callable[[bytes, int], object]:
    """The bare ``send(frame, DONTWAIT)`` of a socket; raises ``zmq.Again`` when it would block.

    ``Socket.send`` spends 0.4 µs on options nobody uses here (2026, pyzmq 27.3); this is the
    method below it.
    """
    send: Callable[[bytes, int], object] = super(zmq.Socket, socket).send
    return send


def _socket(
    context: ZmqContext, kind: zmq.SocketType, endpoint: str, *, linger_ms: int
) -> ZmqSocket:
    if endpoint:
        check_endpoint(endpoint)
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
    if endpoint.startswith("tcp://"):
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        # A host that vanishes sends no FIN: only a heartbeat ends such a connection.
        socket.setsockopt(zmq.HEARTBEAT_IVL, _TCP_HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _TCP_HEARTBEAT_TIMEOUT_MS)
    return socket


def connect(socket: ZmqSocket, endpoint: str) -> ZmqSocket:
    """Connect, in the background; raises :class:`~bus.errors.BusError` if that cannot even begin.

    The socket is closed then.
    """
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise BusError(f"cannot connect to {endpoint}: {_reason(error)}") from None
    return socket
