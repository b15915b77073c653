"""A running bus, shared by the tests of one module."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.running_bus import RunningBus


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="module")
def make_bus() -> Iterator[Callable[..., RunningBus]]:
    """A function that makes a bus (not started) with a configuration of its own."""
    made: list[RunningBus] = []

    def make(extra: str = "") -> RunningBus:
        run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
        port, binance, finnhub = free_ports(3)
        config = run_dir / "mdbus.toml"
        config.write_text(
            f'run_dir = "{run_dir}"\n'
            f"{extra}\n"
            f"[bridge]\nport = {port}\n"
            f"[simulator]\nports.binance = {binance}\nports.finnhub = {finnhub}\n"
            "ports.coinbase = 0\nports.kraken = 0\n"
            "news_interval_s = 1.0\n"
            "[feeds.finnhub]\nnews_poll_s = 6.0\n"
        )
        bus = RunningBus(run_dir, port, config)
        made.append(bus)
        return bus

    yield make
    for bus in made:
        if bus.processes():
            bus.down()
        shutil.rmtree(bus.run_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def bus(make_bus: Callable[..., RunningBus]) -> Iterator[RunningBus]:
    """A started bus; when the module is done it is stopped and must leave nothing behind."""
    running = make_bus()
    running.up()
    yield running
    running.down()
    assert not list(running.run_dir.glob("*.sock")), "sockets left behind"
