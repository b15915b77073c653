"""Settings of the simulated market: ``[simulator]``."""

from __future__ import annotations

from dataclasses import dataclass

from bus.config.field import setting


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """The venue servers of the embedded profile."""

    host: str = setting("127.0.0.1", doc="Address the simulated venues listen on.")
    binance_port: int = setting(
        8011, minimum=0, maximum=65535, doc="TCP port of the simulated Binance (WebSocket + REST)."
    )
    finnhub_port: int = setting(
        8012, minimum=0, maximum=65535, doc="TCP port of the simulated Finnhub (WebSocket + REST)."
    )
    seed: int = setting(1, doc="Seed of the simulated market.")
