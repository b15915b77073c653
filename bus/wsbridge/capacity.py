"""How many clients fit into the files that the system lets this process have open.

A client takes one descriptor, and a second one while shared frames go to it directly
(:mod:`bus.wsbridge.direct_write`): as many of those as there is room for. The supervisor replaces a
process that comes near the system's limit (``supervisor.max_fds``), so both end before that.
"""

from __future__ import annotations

import resource
from typing import NamedTuple

from bus.runtime import get_logger

OTHER_FILES = 100
"""Sockets of the bus, logs, the ledger, the admin port, handshakes and requests on their way."""

_log = get_logger("wsbridge.capacity")


class Capacity(NamedTuple):
    """Clients at once, and second descriptors for them."""

    clients: int
    direct: int


def capacity_here(max_connections: int) -> Capacity:
    """What fits into this process, of ``max_connections`` wanted; fewer clients are told."""
    files = files_allowed()
    found = capacity(max_connections, files)
    if found.clients < max_connections:
        _log.warning("few open files allowed", allowed=files, clients_at_most=found.clients)
    return found


def files_allowed() -> int:
    """The system's limit for this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def capacity(max_connections: int, files: int) -> Capacity:
    """What fits into ``files``, of ``max_connections`` wanted; at least one client."""
    room = files * 8 // 10 - OTHER_FILES
    clients = max(1, min(max_connections, room))
    return Capacity(clients, max(0, min(clients, room - clients)))
