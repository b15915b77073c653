"""What makes processes for a supervisor, under test: the pids it noted, a lifeline, its log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from bus.supervision.adoption import become_subreaper
from bus.testing import eventually

assert become_subreaper()  # what a template forks comes to this very process


class Source(Protocol):
    """A template, or a pool of spares."""

    def pids(self) -> set[int]: ...


S = TypeVar("S", bound=Source)


class Surroundings:
    """What a source is made with; it finds no settings."""

    def __init__(self, path: Path) -> None:
        self.noted: list[int] = []
        self.lifeline, self._end = os.pipe()
        self.log = path / "template.log"
        self.config = path / "none.toml"

    def make(self, kind: Callable[..., S]) -> S:
        return kind(self.config, self.log, noted=self.noted.append, forgotten=self.noted.remove)

    def close(self) -> None:
        os.close(self.lifeline)
        os.close(self._end)


@asynccontextmanager
async def kept(
    path: Path, kind: Callable[..., S], end: Callable[[S], None]
) -> AsyncIterator[tuple[S, Surroundings]]:
    """A source and its surroundings; at the end of the block it is ended, and all that it made."""
    surroundings = Surroundings(path)
    source = surroundings.make(kind)
    try:
        yield source, surroundings
    finally:
        end(source)
        await eventually(lambda: not source.pids())
        surroundings.close()
