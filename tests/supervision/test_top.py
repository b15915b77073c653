"""What top shows of a status: rates, moods, and the sums over all processes."""

from __future__ import annotations

from typing import Any

import pytest

from bus.supervision.data_state import data_of
from bus.supervision.drawing import Cell
from bus.supervision.top import HEADINGS, fitting, rows, system_line


def process(**facts: Any) -> dict[str, Any]:
    return {
        "name": "feed.x",
        "kind": "feed",
        "pid": 7,
        "state": "ready",
        "wanted": True,
        "uptime_s": 61.0,
        "cpu_percent": 2.5,
        "rss_bytes": 50 * 1024 * 1024,
        "fds": 30,
        "restarts": 0,
        "last_exit": None,
        "loop_lag_ms": 0.4,
        "quiet_s": 0.3,
        "rates": {"messages_in": 120.0, "messages_out": 12_345.0},
        "counters": {"state": "live", "drops": 0},
        **facts,
    }


def status(*processes: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "healthy": True,
        "mode": "embedded",
        "data": data_of(list(processes)),
        "spares": {"wanted": 1, "ready": 1, "taken": 0},
        "processes": list(processes),
        **facts,
    }


def row(**facts: Any) -> dict[str, Cell]:
    (cells,) = rows(status(process(**facts)))
    return dict(zip(HEADINGS, cells, strict=True))


def test_a_healthy_process_is_plain() -> None:
    shown = row()
    assert shown["STATE"] == Cell("ready", "good")
    assert (shown["IN/S"].text, shown["OUT/S"].text) == ("120", "12.3k")
    assert (shown["LAG"], shown["FRESH"]) == (Cell("0.4 ms"), Cell("0.3s"))
    assert (shown["MEMORY"].text, shown["CPU"].text) == ("50 MiB", "2.5%")


def test_trouble_stands_out() -> None:
    assert row(loop_lag_ms=250.0)["LAG"].mood == "bad"
    assert row(quiet_s=30.0)["FRESH"] == Cell("30.0s", "odd")
    bridge = row(quiet_s=30.0, kind="bridge", counters={"clients": 0})
    assert bridge["FRESH"] == Cell("-"), "nobody there asks for anything"
    bridge = row(quiet_s=30.0, kind="bridge", counters={"clients": 1})
    assert bridge["FRESH"] == Cell("30.0s"), "they may have asked for nothing"
    assert row(counters={"state": "recovering"})["STATE"] == Cell("ready, recovering", "odd")
    assert row(state="failing", retry_in_s=9.5)["STATE"] == Cell("failing 9.5s", "bad")
    last = {"code": None, "signal": "SIGKILL", "reason": "no heartbeat for 5 s"}
    assert row(restarts=2, last_exit=last)["LAST EXIT"].text == "SIGKILL: no heartbeat for 5 s"


def test_a_process_that_does_not_run_has_dashes() -> None:
    nothing = dict.fromkeys(
        ("pid", "uptime_s", "cpu_percent", "rss_bytes", "fds", "loop_lag_ms", "quiet_s")
    )
    shown = row(state="stopped", rates={}, counters={}, **nothing)
    assert {shown[h].text for h in HEADINGS} - {"feed.x", "stopped", "0"} == {"-"}


def test_the_system_line_sums_what_was_lost_missed_and_stale() -> None:
    line = system_line(
        status(
            process(counters={"drops": 3, "gaps": 2, "stale_streams": 1}),
            process(kind="bridge", counters={"drops": 4, "bus_gaps": 5, "slow_closed": 1}),
            process(kind="broker", rates={"messages_in": 900.0, "messages_out": 1_800.0}),
        )
    )
    texts = {cell.text: cell.mood for cell in line}
    assert texts["running, healthy"] == "good"
    assert texts["bus 900 in, 1800 out"] == ""
    assert texts["lost 8"] == "bad"
    assert texts["gaps 7"] == "bad"
    assert texts["stale 1"] == "bad"
    assert "spares 1 of 1" in texts


def test_the_system_line_counts_the_feeds_whose_data_is_live() -> None:
    def shown(*states: str) -> Cell:
        rows = [process(counters={"state": state}) for state in states]
        return next(cell for cell in system_line(status(*rows)) if cell.text.startswith("data "))

    assert shown("live", "live") == Cell("data live 2 of 2", "good")
    assert shown("live", "closed") == Cell("data live 1 of 2", "odd")
    assert shown("live", "down") == Cell("data live 1 of 2", "bad")


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (200, ()),
        (100, ("LAST EXIT",)),
        (80, ("LAST EXIT", "FDS", "MEMORY")),
        (1, HEADINGS[3:]),
    ],
)
def test_a_narrow_terminal_has_whole_columns_and_fewer(width: int, gone: tuple[str, ...]) -> None:
    last = {"code": None, "signal": "SIGKILL", "reason": "no heartbeat for 5 s"}
    table = rows(status(process(name="feed.binance", pid=1_234_567, last_exit=last)))
    shown = [HEADINGS[index] for index in fitting(table, width)]
    assert shown == [heading for heading in HEADINGS if heading not in gone]


def test_nothing_lost_is_good() -> None:
    texts = {cell.text: cell.mood for cell in system_line(status(process(), healthy=False))}
    assert texts["lost 0"] == "good"
    assert texts["running, NOT healthy"] == "bad"
