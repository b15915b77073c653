"""A socket on an address to listen on, or one line that says why it cannot be had."""

from __future__ import annotations

import errno
import socket

from bus.errors import ConfigError


def bind(host: str, port: int, section: str = "bridge", *, shared: bool = True) -> socket.socket:
    """A socket of our own on an address; ``shared`` with other workers that do the same.

    ``section`` names the settings in the ConfigError that is raised when it cannot be had.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ConfigError.of(
            f"{section}.host", f"{host!r} is not an address of this machine"
        ) from None
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _bind_error(host, port, section, error) from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _bind_error(host: str, port: int, section: str, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError.of(
            f"{section}.port",
            f"port {port} on {host} is in use by another program",
            hint=f"stop it, or choose another port: {section}.port={port + 1}",
        )
    if error.errno == errno.EACCES:
        return ConfigError.of(f"{section}.port", f"port {port} needs more privileges")
    return ConfigError.of(f"{section}.host", f"cannot listen on {host}: {error.strerror}")
