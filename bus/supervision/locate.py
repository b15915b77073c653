"""Which settings and which run directory a command means."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bus.config import Settings

DEFAULT_FILE: Final = Path("mdbus.toml")


def config_file(arguments: argparse.Namespace) -> Path | None:
    """The settings file: the one given, else ``./mdbus.toml`` when it exists, else none."""
    if arguments.config:
        return Path(arguments.config)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def settings_for(arguments: argparse.Namespace) -> Settings:
    """The settings a command is to use; raises `ConfigError` with every problem."""
    from bus.config import load

    overrides = list(getattr(arguments, "overrides", []))
    if arguments.run_dir:
        overrides.append(f"run_dir={Path(arguments.run_dir).absolute()}")
    return load(config_file(arguments), overrides)


def run_path_for(arguments: argparse.Namespace) -> Path:
    """The run directory a query means; settings are read only when there is a file of them."""
    if arguments.run_dir:
        return Path(arguments.run_dir)
    if config_file(arguments) is None:
        return default_run_path()
    return settings_for(arguments).run_path


def default_run_path() -> Path:
    """What ``Settings().run_path`` is.

    The rule stands here a second time, held equal by a test, because importing the settings takes
    longer than all the rest of ``mdbus status`` (50 of 100 ms, Python 3.11).
    """
    if given := os.environ.get("MDBUS_RUN_DIR"):
        return Path(given)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "mdbus"
    return Path(f"/tmp/mdbus-{os.getuid()}")  # noqa: S108  (made 0700, owner checked)
