"""``mdbus metrics``: once to a file, or over HTTP on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.supervision.cli import main
from bus.supervision.metrics_verb import AddressError, loopback_address
from bus.testing import wait_until
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


def test_it_prints_what_every_process_counts(whole_bus: WholeBus) -> None:
    wanted = {
        "mdbus_up",
        "mdbus_process_restarts",
        "mdbus_process_resident_memory_bytes",
        "mdbus_broker_messages_in",
        "mdbus_feed_reconnects",
        "mdbus_feed_gaps",
    }

    def printed() -> bool:
        done = whole_bus.ask("metrics")
        assert done.returncode == 0, done.stderr
        return wanted <= {family.name for family in text_string_to_metric_families(done.stdout)}

    wait_until(printed, 20, "every process has sent a heartbeat")


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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "not PORT or HOST:PORT"),
        ("127.0.0.1:70000", "not PORT or HOST:PORT"),
        ("0.0.0.0:9464", "not loopback"),
        ("10.0.0.1:9464", "not loopback"),
        ("example.com:9464", "not an address"),
    ],
)
def test_another_address_is_a_usage_error_with_the_way_out(
    text: str, why: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AddressError, match=why):
        loopback_address(text)
    assert main(["metrics", "--run-dir", str(run_dir), "--listen", text]) == 2
    assert why in capsys.readouterr().err


def test_a_port_alone_and_ipv6_are_understood() -> None:
    assert loopback_address("9464") == ("127.0.0.1", 9464)
    assert loopback_address("localhost:1") == ("localhost", 1)
    assert loopback_address("[::1]:9464") == ("::1", 9464)
