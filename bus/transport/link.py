"""The sockets of the link between the supervisor (ROUTER) and its processes (DEALER).

Both ends are bounded and never block: a message that does not fit is dropped and the caller is
told. ZeroMQ's own heartbeats are left off on purpose: they are answered by an I/O thread and
would vouch for a process whose loop is stuck.
"""

from __future__ import annotations

import os
import sys

import zmq

from bus.transport.sockets import ZmqContext, ZmqSocket, bind

_HIGH_WATER_MARK = 1_000


def make_link_dealer(context: ZmqContext, endpoint: str) -> ZmqSocket:
    """The process's end, connected to the supervisor's ``endpoint``; closes without waiting."""
    socket = context.socket(zmq.DEALER)
    socket.set_hwm(_HIGH_WATER_MARK)
    socket.setsockopt(zmq.LINGER, 200)  # ms: long enough for the last word, short at exit
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1_000)
    socket.connect(endpoint)
    return socket


def make_link_router(context: ZmqContext, endpoint: str) -> ZmqSocket:
    """The supervisor's end, bound to ``endpoint``; only the same user may connect to it.

    Raises `bus.errors.ConfigError` for a bad endpoint and `bus.errors.BusError` for a busy one.
    """
    socket = context.socket(zmq.ROUTER)
    socket.set_hwm(_HIGH_WATER_MARK)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a message to nobody is an error, not a silence
    socket.setsockopt(zmq.MAXMSGSIZE, 64 * 1024)
    if sys.platform == "linux":
        socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
    try:
        bind(socket, endpoint, "link")
    except BaseException:
        socket.close()
        raise
    return socket
