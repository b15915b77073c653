"""Which settings and which run directory a command means."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bus.config import Settings
    from bus.supervision.origin import Origin

DEFAULT_FILE: Final = "mdbus.toml"


def config_file(arguments: argparse.Namespace) -> str | None:
    """The settings file: the one given, else ``./mdbus.toml`` when it exists, else none."""
    if arguments.config:
        return str(arguments.config)
    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def settings_for(arguments: argparse.Namespace) -> Settings:
    """The settings a command is to use; raises `ConfigError` with every problem."""
    from bus.config import load

    return load(config_file(arguments), _overrides(arguments))


def _overrides(arguments: argparse.Namespace) -> list[str]:
    overrides = list(getattr(arguments, "overrides", []))
    if arguments.run_dir:
        overrides.append(f"run_dir={os.path.join(os.getcwd(), _given_run_dir(arguments))}")
    return overrides


def _given_run_dir(arguments: argparse.Namespace) -> str:
    """The directory of ``--run-dir``, which need not exist; raises `ConfigError` for a file."""
    path: str = arguments.run_dir
    if os.path.exists(path) and not os.path.isdir(path):
        from bus.errors import ConfigError, Problem

        raise ConfigError([Problem("--run-dir", "", f"{path} is not a directory")])
    return path


def origin_of(arguments: argparse.Namespace, feeds: Sequence[str] = ()) -> Origin:
    """Where the settings of `up` come from, so that they can be read again later."""
    from pathlib import Path

    from bus.supervision.origin import Origin

    named = bool(arguments.config)
    file = Path(arguments.config if named else DEFAULT_FILE)
    return Origin(file.absolute(), named, tuple(_overrides(arguments)), tuple(feeds))


def run_path_for(arguments: argparse.Namespace) -> Path:
    """`run_dir_for` for who works in it."""
    from pathlib import Path

    return Path(run_dir_for(arguments))


def run_dir_for(arguments: argparse.Namespace) -> str:
    """The run directory a query means: that of the option, of the settings file, or the default.

    Of a settings file only ``run_dir`` is looked at: a running bus can be asked and stopped
    whatever else is wrong in the file. Raises `ConfigError` for one that cannot be read at all. A
    text: `pathlib` is a fifth of what a query imports.
    """
    if arguments.run_dir:
        return _given_run_dir(arguments)
    file = config_file(arguments)
    if file is None:
        return default_run_dir()
    import tomllib  # takes 5 of the 40 ms of a query, and one that names its directory needs none

    try:
        with open(file, encoding="utf-8") as stream:
            given = tomllib.loads(stream.read()).get("run_dir", "")
    except (OSError, ValueError):
        return str(settings_for(arguments).run_path)  # which says what is wrong with it
    return given if isinstance(given, str) and given else default_run_dir()


def default_run_dir() -> str:
    """What ``Settings().run_path`` is.

    The rule stands here a second time, held equal by a test, because importing the settings takes
    longer than all the rest of ``mdbus status`` (50 of 100 ms, Python 3.11).
    """
    if given := os.environ.get("MDBUS_RUN_DIR"):
        return given
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(runtime, "mdbus")
    return f"/tmp/mdbus-{os.getuid()}"  # noqa: S108  (made 0700, owner checked)
