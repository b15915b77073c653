"""status --json is a contract."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from bus.supervision.status import http_url
from bus.testing import wait_until
from tests.supervision.conftest import WholeBus

CONTRACT = {
    "name": str,
    "kind": str,
    "pid": int,
    "state": str,
    "restarts": int,
    "uptime_s": float,
    "cpu_percent": float,
    "rss_bytes": int,
    "heartbeat_age_ms": int,
}


def test_the_keys_of_the_contract_are_there_with_their_types(whole_bus: WholeBus) -> None:
    def counted() -> dict[str, Any] | None:  # a first heartbeat may come before there are any
        found: dict[str, Any] = whole_bus.json("status")
        return found if all(row["counters"] for row in found["processes"]) else None

    status = wait_until(counted, what="every process reports counters")
    assert status is not None
    assert status["state"] == "running"
    assert {"publish", "subscribe", "http"} <= set(status["endpoints"])
    for row in status["processes"]:
        for key, kind in CONTRACT.items():
            assert isinstance(row[key], kind), (row["name"], key, row[key])
        assert "last_exit" in row
        assert row["rss_bytes"] > 1_000_000
    kinds = {row["name"]: row["kind"] for row in status["processes"]}
    assert kinds == {
        "simulator": "simulator",
        "broker": "broker",
        "feed.binance": "feed",
        "feed.finnhub": "feed",
        "bridge.1": "bridge",
    }


def test_the_http_endpoint_answers(whole_bus: WholeBus) -> None:
    url = whole_bus.json("status")["endpoints"]["http"]
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("bus.example", "http://bus.example:80"),
    ],
)
def test_a_browser_on_this_machine_finds_it(host: str, url: str) -> None:
    assert http_url(host, 80) == url
