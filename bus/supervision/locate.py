"""Which settings and which run directory a command means."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from bus.config import Settings, load

DEFAULT_FILE: Final = Path("mdbus.toml")


def config_file(arguments: argparse.Namespace) -> Path | None:
    """The settings file: the one given, else ``./mdbus.toml`` when it exists, else none."""
    if arguments.config:
        return Path(arguments.config)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def settings_for(arguments: argparse.Namespace) -> Settings:
    """The settings a command is to use; raises `ConfigError` with every problem."""
    overrides = list(getattr(arguments, "overrides", []))
    if arguments.run_dir:
        overrides.append(f"run_dir={Path(arguments.run_dir).absolute()}")
    return load(config_file(arguments), overrides)


def run_path_for(arguments: argparse.Namespace) -> Path:
    """The run directory a query means, without reading settings where that can be avoided."""
    if arguments.run_dir:
        return Path(arguments.run_dir)
    if config_file(arguments) is None:
        return Settings().run_path
    return settings_for(arguments).run_path
