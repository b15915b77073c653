"""A running bus, shared by the tests of one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.running_bus import RunningBus, making_buses


@pytest.fixture(scope="module")
def make_bus() -> Iterator[Callable[..., RunningBus]]:
    """A function that makes a bus (not started) with a configuration of its own."""
    with making_buses() as make:
        yield make


@pytest.fixture(scope="module")
def bus(make_bus: Callable[..., RunningBus]) -> Iterator[RunningBus]:
    """A started bus; when the module is done it is stopped and must leave nothing behind."""
    running = make_bus()
    running.up()
    yield running
    running.down()
    assert not list(running.run_dir.glob("*.sock")), "sockets left behind"
