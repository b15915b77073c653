"""``mdbus metrics``: once to a file, or over HTTP on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bus.supervision.cli import main
from bus.supervision.metrics_verb import AddressError, loopback_address
from bus.testing import wait_until
from tests.supervision.conftest import WholeBus


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
