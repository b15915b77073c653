"""``mdbus metrics --listen``: over HTTP, on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.supervision.conftest import WholeBus


@contextmanager
def served(run_dir: Path, listen: str = "127.0.0.1:0") -> Iterator[str]:
    """The URL of a running ``metrics --listen``; it must end on an interrupt without a word."""
    words = [sys.executable, "-m", "bus.supervision", "metrics", "--run-dir", str(run_dir)]
    process = subprocess.Popen(
        [*words, "--listen", listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[0]
    finally:
        process.send_signal(2)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
        assert (process.returncode, errors) == (0, "")


def test_it_serves_them_and_nothing_else(whole_bus: WholeBus) -> None:
    with served(whole_bus.run_dir) as url:
        answer = httpx.get(url)
        assert (answer.status_code, "\nmdbus_up 1.0\n" in answer.text) == (200, True)
        assert httpx.get(url.replace("/metrics", "/")).status_code == 404
        assert httpx.post(url).status_code == 405


def test_while_nothing_runs_it_says_so_to_the_scraper(run_dir: Path) -> None:
    with served(run_dir) as url:
        assert "\nmdbus_up 0.0\n" in httpx.get(url).text


def test_over_ipv6_as_well(run_dir: Path) -> None:
    with served(run_dir, "[::1]:0") as url:
        if not url:
            pytest.skip("no IPv6 loopback on this machine")
        assert httpx.get(url).status_code == 200
