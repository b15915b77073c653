"""The simulator as a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bus.testing import wait_until
from tests.conftest import ROOT
from tests.simulator.binance.test_recording import LINES, write

FreePort = Callable[[], int]


@contextmanager
def simulator(*settings: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bus.simulator", "--name", "simulator"]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def ports(free_port: FreePort) -> tuple[int, int, list[str]]:
    binance, finnhub = free_port(), free_port()
    return (
        binance,
        finnhub,
        [f"simulator.ports.binance={binance}", f"simulator.ports.finnhub={finnhub}"],
    )


def test_it_serves_both_venues_and_leaves_with_0_on_sigterm(free_port: FreePort) -> None:
    binance, finnhub, settings = ports(free_port)
    with simulator(*settings) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{binance}/api/v3/ping"))
        quote = httpx.get(f"http://127.0.0.1:{finnhub}/api/v1/quote?symbol=AAPL&token=k").json()
        assert quote["c"] > 0
        price = httpx.get(f"http://127.0.0.1:{binance}/api/v3/ticker/price?symbol=BTCUSDT").json()
        assert price["symbol"] == "BTCUSDT"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["binance", "finnhub"])
def test_a_taken_port_is_one_clear_line(free_port: FreePort, name: str) -> None:
    _, _, settings = ports(free_port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with simulator(*settings, f"simulator.ports.{name}={port}") as process:
            _, error = process.communicate(timeout=20)
            assert process.returncode == 1
    assert f"port {port}: it is in use" in error
    assert f"simulator.ports.{name}" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ('simulator.crypto_symbols=["nope"]', "is no Binance symbol"),
        ('simulator.source="playback"', "no recording is named"),
        ('simulator.playback_end="never"', "must be one of"),
    ],
)
def test_a_bad_setting_is_one_clear_line_and_78(
    free_port: FreePort, setting: str, why: str
) -> None:
    _, _, settings = ports(free_port)
    with simulator(*settings, setting) as process:
        _, error = process.communicate(timeout=20)
        assert process.returncode == 78
    assert why in error
    assert "Traceback" not in error


def test_a_venue_nobody_can_simulate_is_one_clear_line_and_78(free_port: FreePort) -> None:
    _, _, settings = ports(free_port)
    nobody = ["feeds.odd.venue=oddvenue", f"simulator.ports.oddvenue={free_port()}"]
    with simulator(*settings, *nobody) as process:
        _, error = process.communicate(timeout=20)
        assert process.returncode == 78
    assert "simulator.ports.oddvenue: the simulator does not speak oddvenue" in error
    assert "Traceback" not in error


def test_a_venue_without_an_enabled_feed_is_not_served(free_port: FreePort) -> None:
    binance, finnhub, settings = ports(free_port)
    with simulator(*settings, "feeds.finnhub.enabled=false"):
        wait_until(lambda: answers(f"http://127.0.0.1:{binance}/api/v3/ping"))
        assert not answers(f"http://127.0.0.1:{finnhub}/_sim/state")


def test_it_plays_a_recording(free_port: FreePort, tmp_path: Path) -> None:
    binance, _, settings = ports(free_port)
    file = write(tmp_path / "play.gz", LINES)
    playback = ['simulator.source="playback"', f'simulator.playback_files=["{file}"]']
    with simulator(*settings, *playback) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{binance}/_sim/playback"))
        state = httpx.get(f"http://127.0.0.1:{binance}/_sim/playback").json()
        assert state["total_lines"] == len(LINES)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
