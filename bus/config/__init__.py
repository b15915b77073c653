"""Configuration: one TOML file, read once into frozen, typed settings."""

from bus.config.load import load
from bus.config.settings import SIMULATED_VENUE, Endpoints, FeedSettings, Settings

__all__ = ["SIMULATED_VENUE", "Endpoints", "FeedSettings", "Settings", "load"]
