"""All settings of one bus, frozen and typed, and what follows from several of them together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from bus.config.bridge import BridgeSettings
from bus.config.broker import BrokerSettings
from bus.config.feeds import DEFAULT_FEEDS
from bus.config.feeds import FeedSettings as FeedSettings
from bus.config.field import below, section, setting
from bus.config.simulator import SimulatorSettings
from bus.config.supervision import SupervisorSettings

SIMULATED_VENUE = "sim"
"""The venue label of everything the simulator makes."""

DEFAULT_ALIASES: dict[str, str] = {
    "BTC": "BTC-USDT@binance",
    "BTCUSDT": "BTC-USDT@binance",
    "ETH": "ETH-USDT@binance",
    "ETHUSDT": "ETH-USDT@binance",
    "SOL": "SOL-USDT@binance",
    "SOLUSDT": "SOL-USDT@binance",
}


class Endpoints(NamedTuple):
    """ZeroMQ endpoints and sockets of one bus: publishers and subscribers connect to these."""

    publish: str
    subscribe: str
    control: Path


@section
class Settings:
    """The whole of ``mdbus.toml``. Read once at start; a changed file means a new instance."""

    mode: str = setting(
        "embedded",
        choices=("embedded", "live"),
        doc="embedded: a simulated market on this machine, no keys, no internet; all its data is "
        "labelled venue `sim`. live: the real venues.",
    )
    run_dir: str = setting(
        "",
        unit="path",
        doc="Sockets, pid file and logs. Empty: $MDBUS_RUN_DIR, else $XDG_RUNTIME_DIR/mdbus, "
        "else /tmp/mdbus-<uid>.",
    )
    log_level: str = setting(
        "info", choices=("debug", "info", "warning", "error"), doc="Least level that is logged."
    )
    broker: BrokerSettings = below(BrokerSettings)
    bridge: BridgeSettings = below(BridgeSettings)
    simulator: SimulatorSettings = below(SimulatorSettings)
    supervisor: SupervisorSettings = below(SupervisorSettings)
    feeds: dict[str, FeedSettings] = below(lambda: dict(DEFAULT_FEEDS))
    aliases: dict[str, str] = setting(
        DEFAULT_ALIASES,
        doc='Short names for WebSocket clients: alias = "SYMBOL@feed", upper case, for example '
        'XRP = "XRP-USDT@binance". The symbol of every feed is its own alias unless another one '
        "takes the name.",
    )

    @property
    def run_path(self) -> Path:
        """The run directory in force (not created here)."""
        if self.run_dir:
            return Path(self.run_dir)
        if given := os.environ.get("MDBUS_RUN_DIR"):
            return Path(given)
        if runtime := os.environ.get("XDG_RUNTIME_DIR"):
            return Path(runtime) / "mdbus"
        return Path(f"/tmp/mdbus-{os.getuid()}")  # noqa: S108  (made 0700, owner checked)

    @property
    def endpoints(self) -> Endpoints:
        """Where everything of this bus meets."""
        run = self.run_path
        return Endpoints(
            publish=self.broker.publish or f"ipc://{run}/publish.sock",
            subscribe=self.broker.subscribe or f"ipc://{run}/subscribe.sock",
            control=run / "control.sock",
        )

    @property
    def stop_s(self) -> float:
        """How long stopping everything may take, layer after layer, before the rest is killed."""
        graces_s = self.supervisor.stop_grace_s, self.bridge.stop_s
        return self.supervisor.stop_deadline_s or 3 * graces_s[0] + max(graces_s)

    @property
    def simulated(self) -> bool:
        """Whether the data comes from the simulator."""
        return self.mode == "embedded"

    @property
    def simulated_ports(self) -> dict[str, int]:
        """The venues the simulator serves, with their ports: those of the enabled feeds.

        Empty in live mode. A venue without a port is left out; its feed says so.
        """
        if not self.simulated:
            return {}
        venues = [self.venue_of(name) for name, feed in self.feeds.items() if feed.enabled]
        ports = self.simulator.ports
        return {venue: ports[venue] for venue in venues if venue in ports}

    def venue_of(self, feed: str) -> str:
        """The venue (package name) of a feed."""
        return self.feeds[feed].venue or feed

    def venue_label(self, feed: str) -> str:
        """The venue in the topics of a feed: ``sim`` whenever the data is simulated."""
        return SIMULATED_VENUE if self.simulated else self.venue_of(feed)

    def resolve_alias(self, name: str) -> tuple[str, str] | None:
        """Map a client's symbol to (venue label, symbol); ``None`` when nothing serves it.

        ``name`` is an alias or a full symbol, in any case. A symbol of several feeds resolves to
        the first feed in the file.
        """
        wanted = name.upper()
        if target := self.aliases.get(wanted):
            symbol, _, feed = target.partition("@")
            if feed in self.feeds and self.feeds[feed].enabled:
                return self.venue_label(feed), symbol
            return None
        for feed, settings in self.feeds.items():
            if settings.enabled and wanted in settings.symbols:
                return self.venue_label(feed), wanted
        return None
