"""The listening sockets of the bridge, owned by the supervisor and passed on to each generation.

One SO_REUSEPORT socket per worker slot: the kernel spreads connections evenly over slots, and a
connection that arrives while a worker is being replaced waits in its slot's backlog instead of
being refused. Because SO_REUSEPORT lets two programs of one user share a port without a word,
the port is first bound plainly, which fails if anybody listens there.
"""

from __future__ import annotations

import errno
import socket

from bus.errors import ConfigError, MdbusError

BACKLOG = 1_024


class PortBusyError(MdbusError):
    """Somebody else listens where this bus is to listen."""

    def __init__(self, host: str, port: int, setting: str, example: str = "PORT") -> None:
        self.host = host
        self.port = port
        self.setting = setting
        super().__init__(
            f"port {port} on {host} is in use by another program; free it or choose another "
            f"one with --set {setting}={example}"
        )


def claim_port(host: str, port: int, setting: str) -> int:
    """Check that nobody listens on ``host:port`` and return the port; port 0 picks a free one.

    Raises `PortBusyError`, or `ConfigError` when the host is not an address of this machine or
    the port needs privileges. ``setting`` is the key to name in the message.
    """
    family, address = _resolve(host, port, setting)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortBusyError(host, port, setting) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise _not_ours(host, setting) from error
            text = f"cannot listen on {host}:{port}: {error.strerror}"
            raise ConfigError.of(setting, text) from error
        claimed: int = probe.getsockname()[1]
        return claimed


def claim_endpoint(endpoint: str, setting: str) -> None:
    """Check that a tcp ``endpoint`` of the bus can be bound; one of another kind is not looked at.

    Raises `PortBusyError` when somebody listens there, `ConfigError` when its host is no address
    of this machine. The settings' own checks have seen to it that it has a port.
    """
    if not endpoint.startswith("tcp://"):
        return
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        claim_port(host, int(port), setting)
    except PortBusyError as busy:
        example = f"tcp://{endpoint.removeprefix('tcp://').rpartition(':')[0]}:PORT"
        raise PortBusyError(host, busy.port, setting, example) from busy.__cause__
    except ConfigError as error:  # the host is part of the endpoint, not a setting of its own
        raise ConfigError.of(setting, error.problems[0].message) from error


def open_listeners(host: str, port: int, slots: int) -> list[socket.socket]:
    """``slots`` listening sockets that share ``host:port``; the caller closes them."""
    family, address = _resolve(host, port, "bridge.port")
    opened: list[socket.socket] = []
    try:
        for _ in range(slots):
            listener = socket.socket(family, socket.SOCK_STREAM)
            opened.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in opened:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortBusyError(host, port, "bridge.port") from error
        raise ConfigError.of(
            "bridge.port", f"cannot listen on {host}:{port}: {error.strerror}"
        ) from error
    return opened


def _resolve(host: str, port: int, setting: str) -> tuple[int, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _not_ours(host, setting) from error
    family, _, _, _, address = found[0]
    return family, address


def _not_ours(host: str, setting: str) -> ConfigError:
    section = setting.rpartition(".")[0].removesuffix(".ports")
    return ConfigError.of(f"{section}.host", f"{host!r} is no address of this machine")
