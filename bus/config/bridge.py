"""Settings of the WebSocket bridge: ``[bridge]``."""

from __future__ import annotations

from dataclasses import dataclass

from bus.config.field import setting


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """Where browsers connect and what the bridge promises them."""

    host: str = setting("127.0.0.1", doc="Address to listen on. Off loopback needs auth settings.")
    port: int = setting(8000, minimum=0, maximum=65535, doc="TCP port, shared by all workers.")
    workers: int = setting(
        2, unit="processes", minimum=1, maximum=64, doc="Bridge processes sharing the port."
    )
