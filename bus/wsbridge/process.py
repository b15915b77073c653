"""The bridge process from start to end: a server, its admin port, and its supervisor's wishes."""

from __future__ import annotations

import asyncio
import signal

from bus.clock import monotonic_ns
from bus.config import Settings
from bus.runtime import Life
from bus.wsbridge.admin.port import AdminPort
from bus.wsbridge.server import Server


async def body(life: Life, settings: Settings) -> None:
    """The bridge process from start to end."""
    server = Server(settings, life.name)
    loop = asyncio.get_running_loop()
    admin = AdminPort(settings.bridge.admin, server, lambda: life.request_stop("drain"))
    endpoints: dict[str, str] = {}
    try:
        endpoints["http"] = await server.start(life.listen_socket())
        if settings.bridge.admin.enabled:
            endpoints["admin"] = await admin.start()
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        life.report = server.report
        life.handle("settings", server.take_settings)
        server.garbage.take_over(monotonic_ns())
        life.ready(endpoints)
        await life.stopping.wait()
        admin.make_way()
        await server.drain(lambda: life.is_taken_down)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        admin.close()
        await server.close()
        server.garbage.give_back()
