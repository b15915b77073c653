"""Where the settings of a running bus came from, so that they can be read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.config import Settings, load
from bus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Origin:
    """The operator's file and the words of the command line.

    ``file`` is the path to read, ``required`` whether it was named (else it may be absent, and all
    is default), ``overrides`` are ``key=value``, ``feeds`` the feeds chosen by flags.
    """

    file: Path
    required: bool = False
    overrides: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()

    def read(self) -> Settings:
        """The settings as they are now; raises `ConfigError` with every problem."""
        file = self.file if self.required or self.file.exists() else None
        return select_feeds(load(file, self.overrides), self.feeds)


def select_feeds(settings: Settings, chosen: Sequence[str]) -> Settings:
    """Settings in which only the feeds ``chosen`` run; none chosen: as configured.

    Raises `ConfigError` for a feed that the settings do not have.
    """
    if not chosen:
        return settings
    for feed in chosen:
        if feed not in settings.feeds:
            raise ConfigError.of(f"feeds.{feed}", "there is no such feed", where=f"--{feed}")
    feeds = {
        name: dataclasses.replace(feed, enabled=name in chosen)
        for name, feed in settings.feeds.items()
    }
    return dataclasses.replace(settings, feeds=feeds)
