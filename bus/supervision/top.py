"""What ``top`` shows, from the answer to ``status``: rows of text and a line for the system. Pure.

Rates are what a process's counters grew by, in a second, between the last two heartbeats that were
read: a second apart while somebody asks every second, at most twelve else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bus.supervision.data_state import UNKNOWN
from bus.supervision.drawing import GAP, Cell, sentence_lines, table_lines
from bus.supervision.tables import age

HEADINGS: Final = (
    *("NAME", "STATE", "PID", "UPTIME", "CPU", "MEMORY", "FDS"),
    *("IN/S", "OUT/S", "LAG", "FRESH", "RESTARTS", "LAST EXIT"),
)
NUMBERS: Final = frozenset(HEADINGS) - {"NAME", "STATE", "LAST EXIT"}
_FIRST_TO_GO: Final = (
    *("LAST EXIT", "FDS", "MEMORY", "LAG", "UPTIME"),
    *("CPU", "RESTARTS", "OUT/S", "IN/S", "FRESH"),
)
_LAST_EXIT_WIDTH: Final = 16
"""At least so wide is the one column that may be broken into lines."""
LAG_WARNING_MS: Final = 100.0
QUIET_WARNING_S: Final = 10.0
_LOSS: Final = ("drops", "malformed", "slow_closed")
_GAPS: Final = ("gaps", "bus_gaps")
_STALE: Final = ("stale_streams",)


def picture(status: Mapping[str, Any], width: int, *, colour: bool) -> list[str]:
    """The screen: the line for the system and the table of processes, as far as it has room."""
    cells = rows(status)
    columns = fitting(cells, width)
    shown = [HEADINGS[index] for index in columns]
    table = [[Cell(heading, "strong") for heading in shown]]
    table += [[row[index] for index in columns] for row in cells]
    right = {place for place, heading in enumerate(shown) if heading in NUMBERS}
    return [
        *sentence_lines(system_line(status), width, colour=colour),
        "",
        *table_lines(table, width, colour=colour, right=right),
    ]


def rows(status: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    """One row a process, in order of start; cells as in `HEADINGS`."""
    return [_row(process) for process in status["processes"]]


def fitting(table: Sequence[Sequence[Cell]], width: int) -> list[int]:
    """The columns of `HEADINGS`, by index, that a terminal of ``width`` has room for.

    The least wanted go first; name, state and pid always stay.
    """
    needed = {
        heading: max(len(heading), *(len(row[index].text) for row in table), 0)
        for index, heading in enumerate(HEADINGS)
    }
    needed["LAST EXIT"] = min(needed["LAST EXIT"], _LAST_EXIT_WIDTH)
    for heading in _FIRST_TO_GO:
        if sum(needed.values()) + GAP * len(needed) <= width + GAP:
            break
        del needed[heading]
    return [index for index, heading in enumerate(HEADINGS) if heading in needed]


def system_line(status: Mapping[str, Any]) -> list[Cell]:
    """State of the bus, messages a second, and everything lost, missed or stale since the start."""
    processes = status["processes"]
    cpu = sum(process["cpu_percent"] or 0.0 for process in processes)
    rss = sum(process["rss_bytes"] or 0 for process in processes)
    broker: Mapping[str, Any] = next((p for p in processes if p["kind"] == "broker"), {})
    rates = broker.get("rates", {})
    spares = status.get("spares", {})
    health = "healthy" if status["healthy"] else "NOT healthy"
    data = status.get("data", UNKNOWN)
    feeds = data["feeds"]
    live = sum(feed["state"] == "live" for feed in feeds)
    cells = [
        Cell(f"{status['state']}, {health}", "good" if status["healthy"] else "bad"),
        Cell("simulated" if status["mode"] == "embedded" else "live venues", "faint"),
        Cell(
            f"data live {live} of {len(feeds)}",
            "good" if live == len(feeds) else "odd" if data["live"] else "bad",
        ),
        Cell(f"bus {_rate(rates.get('messages_in'))} in, {_rate(rates.get('messages_out'))} out"),
        Cell(f"CPU {cpu:.0f}%"),
        Cell(f"memory {rss / 1048576:.0f} MiB"),
    ]
    for word, keys in (("lost", _LOSS), ("gaps", _GAPS), ("stale", _STALE)):
        count = sum(_counted(process, keys) for process in processes)
        cells.append(Cell(f"{word} {count:,}", "bad" if count else "good"))
    if spares.get("wanted"):
        mood = "" if spares["ready"] else "odd"
        cells.append(Cell(f"spares {spares['ready']} of {spares['wanted']}", mood))
    return cells


def _row(process: Mapping[str, Any]) -> tuple[Cell, ...]:
    rates, lag = process.get("rates", {}), process.get("loop_lag_ms")
    quiet = process.get("quiet_s")
    rss, cpu = process["rss_bytes"], process["cpu_percent"]
    restarts = process["restarts"]
    is_feed = process["kind"] == "feed"
    if process["kind"] == "bridge" and not process.get("counters", {}).get("clients"):
        quiet = None  # it asks for nothing, and hears nothing, rightly
    return (
        Cell(process["name"]),
        _state(process),
        Cell(str(process["pid"] or "-"), "faint"),
        Cell(age(process["uptime_s"])),
        Cell("-" if cpu is None else f"{cpu:.1f}%"),
        Cell("-" if rss is None else f"{rss / 1048576:.0f} MiB"),
        Cell("-" if process.get("fds") is None else str(process["fds"])),
        Cell(_rate(rates.get("messages_in"))),
        Cell(_rate(rates.get("messages_out"))),
        Cell(
            "-" if lag is None else f"{lag:.1f} ms",
            "bad" if lag is not None and lag >= LAG_WARNING_MS else "",
        ),
        Cell(
            "-" if quiet is None else age(quiet),
            "odd" if is_feed and quiet is not None and quiet >= QUIET_WARNING_S else "",
        ),
        Cell(str(restarts), "odd" if restarts else ""),
        Cell(_last_exit(process["last_exit"]), "faint"),
    )


def _state(process: Mapping[str, Any]) -> Cell:
    state = process["state"]
    said = process.get("counters", {}).get("state")
    text = f"{state} {process['retry_in_s']:g}s" if process.get("retry_in_s") else state
    if state == "ready" and isinstance(said, str) and said != "live":
        return Cell(f"{text}, {said}", "odd")  # it runs, and its venue does not deliver
    mood = {"ready": "good", "stopped": "faint", "starting": "odd", "stopping": "odd"}
    return Cell(text, mood.get(state, "bad"))


def _last_exit(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "-"
    how = last["signal"] or ("" if last["code"] is None else f"code {last['code']}")
    why = last["reason"] if last["reason"] not in ("", "exited") else ""
    return f"{how}: {why}" if how and why else how or why


def _counted(process: Mapping[str, Any], keys: Sequence[str]) -> int:
    counters = process.get("counters", {})
    return sum(int(counters.get(key, 0)) for key in keys)


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return "-"
    return f"{per_s / 1000:.1f}k" if per_s >= 10_000 else f"{per_s:.0f}"
