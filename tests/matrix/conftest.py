"""One simulator and one broker for the whole matrix; a feed and a consumer for each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.matrix.stage import Stage, staged
from tests.matrix.watch import Watch, watching


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """On uvloop, as feeds run."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def theatre() -> Iterator[Stage]:
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        with staged(run_dir) as stage:
            yield stage
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


@pytest.fixture
def stage(theatre: Stage) -> Iterator[Stage]:
    """The stage with no fault armed, before and after."""
    theatre.get("/_sim/clear")
    yield theatre
    theatre.get("/_sim/clear")


@pytest.fixture
async def watch(stage: Stage) -> AsyncIterator[Watch]:
    """A consumer; whatever the test did, no book was crossed and the bus lost nothing."""
    async with watching(stage.subscribe) as watch:
        yield watch
        watch.sound()
