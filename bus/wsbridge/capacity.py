"""How many clients fit into the files that the system lets this process have open.

A client takes two descriptors: the transport's, and its own for shared frames
(:mod:`bus.wsbridge.direct_write`). The supervisor replaces a process that comes near the system's
limit (``supervisor.max_fds``), so clients are turned away before that.
"""

from __future__ import annotations

import resource

from bus.runtime import get_logger

FILES_PER_CLIENT = 2
OTHER_FILES = 100
"""Sockets of the bus, logs, the ledger, the admin port, handshakes and requests on their way."""

_log = get_logger("wsbridge.capacity")


def capacity_here(max_connections: int) -> int:
    """The clients that fit into this process, of ``max_connections`` wanted; fewer are told."""
    files = files_allowed()
    capacity = client_capacity(max_connections, files)
    if capacity < max_connections:
        _log.warning("few open files allowed", allowed=files, clients_at_most=capacity)
    return capacity


def files_allowed() -> int:
    """The system's limit for this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def client_capacity(max_connections: int, files: int) -> int:
    """The clients that may be connected at once, of ``max_connections`` wanted; at least one."""
    return max(1, min(max_connections, (files * 8 // 10 - OTHER_FILES) // FILES_PER_CLIENT))
