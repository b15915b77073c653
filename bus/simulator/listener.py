"""The listening end of a simulated venue: one port for WebSocket and HTTP, and its tasks.

HTTP goes through the WebSocket library's request hook, so each HTTP answer ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from bus.errors import BusError
from bus.simulator.clients import WatchedConnection

MAX_REQUEST_BYTES = 2**17
OPEN_TIMEOUT_S = 60.0
"""Longer than any delay a fault or a playback puts on an HTTP answer."""
CLOSE_TIMEOUT_S = 2.0
BACKLOG = 256

OnConnection = Callable[[ServerConnection], Awaitable[None]]
OnRequest = Callable[[ServerConnection, Request], Awaitable[Response | None]]


class PortTaken(BusError):
    """A venue of the simulator cannot listen; says which setting to change."""

    def __init__(self, host: str, port: int, setting: str, why: str) -> None:
        self.host = host
        self.port = port
        self.setting = setting
        super().__init__(
            f"cannot listen on {host} port {port}: {why}; "
            f"free the port or choose another one with {setting}"
        )


class Listener:
    """Serves connections to two callbacks, from :meth:`start` to :meth:`close`."""

    def __init__(self, on_connection: OnConnection, on_request: OnRequest) -> None:
        self._on_connection = on_connection
        self._on_request = on_request
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        host: str,
        port: int,
        setting: str,
        *,
        ping_interval_s: float | None = None,
        pong_timeout_s: float | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> int:
        """Listen; the port in use (``port`` 0 takes any). Raises :class:`PortTaken`.

        ``setting`` is the one that names the port; without intervals the server sends no pings.
        ``open_timeout_s``: longest wait for an HTTP answer.
        """
        try:
            self._server = await serve(
                self._on_connection,
                host,
                port,
                process_request=self._on_request,
                create_connection=WatchedConnection,
                compression=None,
                open_timeout=open_timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=ping_interval_s,
                ping_timeout=pong_timeout_s,
                max_size=MAX_REQUEST_BYTES,
                server_header=None,
                backlog=BACKLOG,
            )
        except (OSError, OverflowError) as error:
            in_use = getattr(error, "errno", None) == errno.EADDRINUSE
            why = "it is in use" if in_use else getattr(error, "strerror", None) or str(error)
            raise PortTaken(host, port, setting, why) from error
        found: int = next(iter(self._server.sockets)).getsockname()[1]
        return found

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, or to :meth:`close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop listening, close every connection with 1001, end the tasks.

        Takes a little more than :data:`CLOSE_TIMEOUT_S` at most: an HTTP answer that a fault
        holds back for longer is given up.
        """
        for task in list(self._tasks):
            task.cancel()
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S + 0.5):
                    await self._server.wait_closed()
