"""What systemd is told of the bus: ready, reloading, stopping, a status line, alive.

The protocol of ``sd_notify(3)``: datagrams of ``KEY=VALUE`` lines to the socket that
``$NOTIFY_SOCKET`` names. Without one nothing is sent. The variables are removed from the
environment, so that no child speaks for the bus.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG_US: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"
VARIABLES: Final = (_SOCKET, _WATCHDOG_US, _WATCHDOG_PID)
BUSY_S: Final = 10.0
"""How long a start or stop may go on without a word of the supervisor's loop."""


class ServiceManager:
    """The way to the service manager. ``watchdog_s`` is how often it wants to hear that we live;
    0 when it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s: Final = watchdog_s if address else 0.0
        self._socket: socket.socket | None = None
        self._status = ""
        self._alive_at: float | None = None
        if self._address:
            self._socket = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The one the environment names, which then names it no more."""
        values = {name: environment.pop(name, "") for name in VARIABLES}
        ours = values[_WATCHDOG_PID] in ("", str(os.getpid()))
        usec = values[_WATCHDOG_US]
        watchdog_s = int(usec) / 1e6 if ours and usec.isdigit() else 0.0
        return cls(values[_SOCKET], watchdog_s)

    @property
    def listens(self) -> bool:
        """Whether there is one that hears what is said."""
        return self._socket is not None

    def to_environment(self) -> dict[str, str]:
        """The variables that name it, for a program that takes this one's place."""
        if not self._address:
            return {}
        address = "@" + self._address[1:] if self._address.startswith("\0") else self._address
        watchdog = {_WATCHDOG_US: str(int(self.watchdog_s * 1e6))} if self.watchdog_s else {}
        return {_SOCKET: address, **watchdog}

    def ready(self, status: str) -> None:
        """Everything was started, or has been reloaded."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, now_monotonic_ns: int) -> None:
        """New settings are being applied, since that moment; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_monotonic_ns // 1_000}")

    def stopping(self) -> None:
        """The bus is being taken down."""
        self._status = "stopping"
        self._send("STOPPING=1\nSTATUS=stopping")

    def busy(self, more_s: float = BUSY_S) -> None:
        """Still starting or stopping, and getting on: leave us ``more_s`` further seconds from now,
        whatever the limit was. Say it again before they are over.
        """
        self._send(f"EXTEND_TIMEOUT_USEC={int(more_s * 1e6)}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; sent only when it has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self, now_s: float) -> None:
        """The supervisor's loop turns, at monotonic second ``now_s``: call it often, it is sent
        four times in each interval of the watchdog.
        """
        due = self._alive_at is None or now_s - self._alive_at >= self.watchdog_s / 4
        if self.watchdog_s and due:
            self._alive_at = now_s
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Send nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is gone, or does not read: our work goes on
                self._socket.sendto(message.encode(), self._address)
