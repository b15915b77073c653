"""Which settings and which run directory a command means."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.config import Settings
    from bus.supervision.origin import Origin

DEFAULT_FILE: Final = Path("mdbus.toml")


def config_file(arguments: argparse.Namespace) -> Path | None:
    """The settings file: the one given, else ``./mdbus.toml`` when it exists, else none."""
    if arguments.config:
        return Path(arguments.config)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def settings_for(arguments: argparse.Namespace) -> Settings:
    """The settings a command is to use; raises `ConfigError` with every problem."""
    from bus.config import load

    return load(config_file(arguments), _overrides(arguments))


def _overrides(arguments: argparse.Namespace) -> list[str]:
    overrides = list(getattr(arguments, "overrides", []))
    if arguments.run_dir:
        overrides.append(f"run_dir={_given_run_path(arguments).absolute()}")
    return overrides


def _given_run_path(arguments: argparse.Namespace) -> Path:
    """The directory of ``--run-dir``, which need not exist; raises `ConfigError` for a file."""
    path = Path(arguments.run_dir)
    if path.exists() and not path.is_dir():
        from bus.errors import ConfigError, Problem

        raise ConfigError([Problem("--run-dir", "", f"{path} is not a directory")])
    return path


def origin_of(arguments: argparse.Namespace, feeds: Sequence[str] = ()) -> Origin:
    """Where the settings of `up` come from, so that they can be read again later."""
    from bus.supervision.origin import Origin

    named = bool(arguments.config)
    file = Path(arguments.config) if named else DEFAULT_FILE
    return Origin(file.absolute(), named, tuple(_overrides(arguments)), tuple(feeds))


def run_path_for(arguments: argparse.Namespace) -> Path:
    """The run directory a query means: that of the option, of the settings file, or the default.

    Of a settings file only ``run_dir`` is looked at: a running bus can be asked and stopped
    whatever else is wrong in the file. Raises `ConfigError` for one that cannot be read at all.
    """
    if arguments.run_dir:
        return _given_run_path(arguments)
    file = config_file(arguments)
    if file is None:
        return default_run_path()
    import tomllib  # takes 5 of the 40 ms of a query, and one that names its directory needs none

    try:
        given = tomllib.loads(file.read_text(encoding="utf-8")).get("run_dir", "")
    except (OSError, ValueError):
        return settings_for(arguments).run_path  # which says what is wrong with it
    return Path(given) if isinstance(given, str) and given else default_run_path()


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
