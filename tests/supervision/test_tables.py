"""What people see."""

from __future__ import annotations

import io
from typing import Any

import pytest

from bus.supervision.tables import age, event_line, status_table, up_summary, wants_colour

ROW: dict[str, Any] = {
    "name": "feed.binance",
    "kind": "feed",
    "pid": 42,
    "state": "ready",
    "restarts": 3,
    "uptime_s": 125.0,
    "cpu_percent": 1.25,
    "rss_bytes": 48 * 1024 * 1024,
    "heartbeat_age_ms": 420,
    "last_exit": {"code": 1, "signal": None, "reason": "no route to host", "at_ns": 0},
}
STATUS: dict[str, Any] = {
    "state": "running",
    "healthy": True,
    "mode": "embedded",
    "pid": 7,
    "run_dir": "/run/x",
    "endpoints": {"publish": "ipc://p", "subscribe": "ipc://s", "http": "http://127.0.0.1:8000"},
    "processes": [ROW],
}


def test_the_table_says_all_there_is_to_say() -> None:
    text = status_table(STATUS, colour=False)
    assert "running, healthy, simulated data" in text
    row = text.splitlines()[-1].split("  ")
    assert row[0] == "feed.binance"
    for cell in ("ready", "42", "2m05s", "3", "1.2%", "48 MiB", "420 ms"):
        assert cell in text
    assert text.splitlines()[-1].endswith("code 1: no route to host")


def test_data_that_is_not_live_is_said_beside_the_health() -> None:
    down = {"name": "feed.binance", "state": "down", "reason": "dns_failure"}
    text = status_table({**STATUS, "data": {"live": False, "feeds": [down]}}, colour=False)
    assert "running, healthy, simulated; data: binance down (dns_failure)   http" in text
    live = {**STATUS, "mode": "live", "data": {"live": True, "feeds": []}}
    assert "running, healthy, live data   http" in status_table(live, colour=False)


def test_colour_changes_nothing_but_colour() -> None:
    coloured = status_table(STATUS, colour=True)
    assert "\x1b[32m" in coloured
    bare = coloured.replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert bare == status_table(STATUS, colour=False)


class _Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_colours_are_for_terminals_and_for_who_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(_Stream(True))
    assert not wants_colour(_Stream(False))
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(_Stream(True))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(_Stream(True))


def test_what_is_not_known_is_a_dash() -> None:
    stopped = {
        **ROW,
        "pid": None,
        "state": "backoff",
        "retry_in_s": 1.5,
        "uptime_s": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "heartbeat_age_ms": None,
        "last_exit": None,
    }
    line = status_table({**STATUS, "processes": [stopped]}, colour=False).splitlines()[-1]
    assert line.split() == ["feed.binance", "backoff", "1.5s", *"--", "3", *"----"]


def test_a_bus_without_processes_is_a_table_too() -> None:
    assert "NAME" in status_table({**STATUS, "processes": []}, colour=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0.0s"), (59.9, "59.9s"), (60, "1m00s"), (3599, "59m59s"),
     (3600, "1h00m"), (86_400, "1d00h"), (90_061, "1d01h")],
)  # fmt: skip
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_an_event_names_its_process() -> None:
    line = event_line(0, "ready", "broker", "ready in 0.3 s", colour=False)
    assert line.split("  ", 1)[1].split() == ["broker", "ready", "in", "0.3", "s"]


BROKER, BRIDGE = {**ROW, "kind": "broker"}, {**ROW, "kind": "bridge"}
SERVING = {**STATUS, "processes": [ROW, BROKER, BRIDGE]}


@pytest.mark.parametrize("kind", ["broker", "bridge"])
def test_an_address_where_nobody_serves_is_not_offered(kind: str) -> None:
    rows = [{**ROW, "kind": each} for each in ("feed", "broker", "bridge")]
    late = [{**row, "state": "backoff"} if row["kind"] == kind else row for row in rows]
    status = {**STATUS, "processes": late}
    text = up_summary(status, prog="mdbus", symbols=["BTC"], foreground=True)
    no_bridge, no_broker = kind == "bridge", kind == "broker"
    assert ("ws://" in text, "no bridge is ready" in text) == (not no_bridge, no_bridge)
    assert ("ipc://s" in text, "broker is not ready" in text) == (not no_broker, no_broker)
    assert "2 of 3 processes ready" in text


def test_the_summary_says_where_everything_is() -> None:
    text = up_summary(SERVING, prog="mdbus", symbols=["BTC"], foreground=True)
    for part in (
        "3 of 3 processes ready",
        "simulated",
        "http://127.0.0.1:8000/",
        "ws://127.0.0.1:8000/ws/market/BTC/price/",
        "ipc://s",
        "ipc://p",
        "/run/x",
        "Ctrl-C",
        "mdbus tail md/price/",
    ):
        assert part in text
    live = up_summary({**STATUS, "mode": "live"}, prog="mdbus", symbols=["BTC"], foreground=False)
    assert "simulated" not in live
    elsewhere = up_summary(
        STATUS, prog="mdbus", symbols=["BTC"], foreground=False, where=" --run-dir /x"
    )
    assert "mdbus down --run-dir /x" in elsewhere
    assert "mdbus tail md/price/ --run-dir /x" in elsewhere
    assert "Ctrl-C" not in elsewhere


def test_a_failing_process_shows_what_it_said_last() -> None:
    tail = ["a line", "cannot \x1b[2J go on"]
    failing = {**ROW, "state": "failing", "last_exit": {**ROW["last_exit"], "log_tail": tail}}
    lines = status_table({**STATUS, "processes": [failing]}, colour=False).splitlines()
    assert lines[-3:] == [
        "feed.binance is failing; its log ends with",
        "  a line",
        "  cannot ?[2J go on",
    ]
    ready = {**failing, "state": "ready"}
    assert "its log ends" not in status_table({**STATUS, "processes": [ready]}, colour=False)
