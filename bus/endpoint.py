"""What may be an endpoint of the bus. Imports neither ZeroMQ nor the settings."""

from __future__ import annotations

from typing import Final

from bus.errors import ConfigError

_IPC_PATH_LIMIT_BYTES: Final = 107


def check_endpoint(endpoint: str, key: str = "endpoint") -> str:
    """Return ``endpoint`` unchanged, or raise :class:`~bus.errors.ConfigError` saying why not.

    Allowed: ``ipc://<absolute path>`` (at most 107 bytes), ``inproc://<name>``, and
    ``tcp://<host>:<port>`` on loopback. ZeroMQ has no authentication here: a tcp endpoint off
    loopback would be readable and writable by the network, so it is refused. ``key`` names the
    setting in the message.
    """
    scheme, separator, rest = endpoint.partition("://")
    if not separator or not rest:
        raise ConfigError.of(
            key, f"{endpoint!r} is not an endpoint", hint="e.g. ipc:///run/mdbus/publish.sock"
        )
    if scheme == "inproc":
        return endpoint
    if scheme == "ipc":
        length = len(rest.encode())
        if not rest.startswith("/"):
            raise ConfigError.of(key, f"{endpoint!r}: an ipc path must be absolute")
        if length > _IPC_PATH_LIMIT_BYTES:
            raise ConfigError.of(
                key,
                f"the socket path is {length} bytes, at most {_IPC_PATH_LIMIT_BYTES} work",
                hint="choose a shorter run_dir",
            )
        return endpoint
    if scheme != "tcp":
        raise ConfigError.of(key, f"{endpoint!r}: only ipc://, tcp:// and inproc:// are supported")
    host, port = _split_tcp(endpoint, rest, key)
    if not _is_loopback(host):
        raise ConfigError.of(
            key,
            f"{endpoint!r} is off loopback, and nothing there asks who is asking",
            hint=f"use ipc://, or tcp://127.0.0.1:{port} behind a tunnel (ssh, WireGuard)",
        )
    return endpoint


def _split_tcp(endpoint: str, rest: str, key: str) -> tuple[str, str]:
    host, separator, port = rest.rpartition(":")
    if not separator or not host:
        raise ConfigError.of(key, f"{endpoint!r} has no port", hint="tcp://127.0.0.1:5555")
    if port != "*" and not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ConfigError.of(key, f"{endpoint!r}: the port must be 0 to 65535")
    return host, port


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "127.0.0.1", "[::1]"):
        return True
    from ipaddress import ip_address  # hardly any endpoint needs it

    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:  # a name, an interface or *
        return False
