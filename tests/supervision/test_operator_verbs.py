"""status, check, start, stop and restart, asked of a running bus."""

from __future__ import annotations

import pytest

from tests.supervision.conftest import WholeBus


def test_status_is_a_table(whole_bus: WholeBus) -> None:
    done = whole_bus.run("status")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[3:]] == [
        "simulator",
        "broker",
        "feed.binance",
        "feed.finnhub",
        "bridge.1",
    ]


def test_a_healthy_bus_checks_0(whole_bus: WholeBus) -> None:
    done = whole_bus.run("check")
    assert (done.returncode, done.stdout) == (0, "healthy\n")
    assert whole_bus.json("check", "broker") == {"healthy": True, "problems": []}


def test_a_stop_holds_and_a_start_ends_it(whole_bus: WholeBus) -> None:
    assert whole_bus.run("stop", "feed.finnhub").stdout == "feed.finnhub: stopped\n"
    try:
        assert whole_bus.run("check", "feed.finnhub").returncode == 1
        assert whole_bus.run("check").returncode == 0
    finally:
        assert whole_bus.run("start", "feed.finnhub").stdout == "feed.finnhub: ready\n"


def test_a_restart_replaces_each_named_process_once(whole_bus: WholeBus) -> None:
    def pids() -> dict[str, int]:
        return {row["name"]: row["pid"] for row in whole_bus.json("status")["processes"]}

    before = pids()
    whole_bus.json("restart", "bridge.1", "feed.binance", "bridge.1")
    after = pids()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"bridge.1", "feed.binance"}
    rows = whole_bus.json("status")["processes"]
    row = next(row for row in rows if row["name"] == "bridge.1")
    assert row["last_exit"]["code"] == 0, "drained, not killed"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "check"])
def test_an_unknown_process_is_3_with_the_nearest_name(whole_bus: WholeBus, verb: str) -> None:
    done = whole_bus.run(verb, "feed.binanc")
    assert done.returncode == 3
    assert "did you mean feed.binance?" in done.stderr
