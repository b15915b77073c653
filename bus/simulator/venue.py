"""What a simulated venue is made of, and how it is found. Names no venue.

A venue is a package here (``bus.simulator.<venue>``) whose module ``server`` offers
``create(world)``: a new venue touches no other file. Its port stands under
``[simulator.ports]``; it is served while a feed of it is enabled.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import bus.simulator
from bus.config.simulator import SimulatorSettings
from bus.errors import ConfigError
from bus.simulator.instruments import crypto_instrument, dollar_instrument
from bus.simulator.market import SymbolMarket


@dataclass(frozen=True, slots=True)
class World:
    """What all venues share: settings, time, and the leading markets by Binance symbol.

    ``markets`` is empty while a recording is played. ``clock`` gives wall-clock ns, ``at_ns`` is
    the moment the world began. The leading markets are moved on before any venue is.
    """

    settings: SimulatorSettings
    clock: Callable[[], int]
    at_ns: int
    markets: Mapping[str, SymbolMarket]

    def dollar_markets(
        self, separator: str, ticks_e8: Mapping[str, int], *, diff_streams: int
    ) -> dict[str, SymbolMarket]:
        """Markets of one venue's own against USD, by symbol, near the leading ones' prices.

        One for each asset that ``crypto_symbols`` lists against USDT; ``BTC-USD`` with a
        ``separator`` of ``-``. ``ticks_e8``: price increments by base asset, where they are not
        the leading market's. Raises :class:`bus.errors.ConfigError`.
        """
        settings = self.settings
        markets = {}
        for symbol in settings.crypto_symbols:
            leading = crypto_instrument(symbol)
            if leading.quote != "USDT":
                continue
            own = dollar_instrument(leading, separator, ticks_e8.get(leading.base))
            markets[own.symbol] = SymbolMarket(
                own,
                settings.seed,
                self.at_ns,
                levels=settings.book_levels,
                activity=settings.activity,
                leader=self.markets.get(symbol),
                diff_streams=diff_streams,
            )
        return markets


class VenueServer(Protocol):
    """One simulated venue: made, started once, stepped regularly, closed."""

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use (``port`` 0 takes any). Raises ``PortTaken``."""

    def step(self, now_ns: int) -> None:
        """Let the venue live until ``now_ns`` and send what is due."""

    async def close(self) -> None:
        """Stop listening and close every connection."""

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat, each led by the venue's name."""


def venues() -> list[str]:
    """The venues that can be simulated: the packages beside this module."""
    return [module.name for module in pkgutil.iter_modules(bus.simulator.__path__) if module.ispkg]


def find_venue(venue: str) -> Callable[[World], VenueServer]:
    """The ``create`` of a venue's package. Raises ConfigError when there is no such package."""
    if venue not in venues():
        raise ConfigError.of(
            f"simulator.ports.{venue}",
            f"the simulator does not speak {venue}",
            hint=f"known: {', '.join(venues())}",
        )
    module = importlib.import_module(f"bus.simulator.{venue}.server")
    create: Callable[[World], VenueServer] = module.create
    return create
