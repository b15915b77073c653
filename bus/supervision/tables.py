"""What people see: the status table, event lines, the summary after ``up``. Pure text."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from bus.supervision.data_state import UNKNOWN, data_in_words

_RESET: Final = "\x1b[0m"
_COLOURS: Final = {
    "ready": "\x1b[32m",
    "starting": "\x1b[33m",
    "restarting": "\x1b[33m",
    "stopping": "\x1b[33m",
    "backoff": "\x1b[33m",
    "aborting": "\x1b[31m",
    "exited": "\x1b[31m",
    "hung": "\x1b[31m",
    "failing": "\x1b[31m",
    "fatal": "\x1b[31m",
    "stopped": "\x1b[2m",
    "waiting": "\x1b[2m",
    "begun": "\x1b[1m",
    "ended": "\x1b[1m",
    "limit": "\x1b[31m",
}
_HEADINGS: Final = (
    "NAME", "STATE", "PID", "UPTIME", "RESTARTS", "CPU", "MEMORY", "BEAT", "LAST EXIT",
)  # fmt: skip
_RIGHT: Final = frozenset({"PID", "UPTIME", "RESTARTS", "CPU", "MEMORY", "BEAT"})


def wants_colour(stream: TextIO) -> bool:
    """Whether what is written there is to be coloured: a terminal that can show it, for somebody
    who has not said ``NO_COLOR`` (https://no-color.org).
    """
    dull = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return stream.isatty() and not dull


def status_table(status: Mapping[str, Any], *, colour: bool) -> str:
    """The answer to ``status`` as text with its final newline."""
    rows = [_row(process) for process in status["processes"]]
    widths = [
        max(len(heading), *(len(row[index]) for row in rows)) if rows else len(heading)
        for index, heading in enumerate(_HEADINGS)
    ]
    lines = [_summary(status), "", _aligned(_HEADINGS, widths)]
    for row in rows:
        line = _aligned(row, widths)
        if colour:
            start = widths[0] + 2
            painted = _paint(row[1].ljust(widths[1]), row[1].split(" ")[0])
            line = line[:start] + painted + line[start + widths[1] :]
        lines.append(line)
    for process in status["processes"]:
        lines += _why_it_fails(process)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def event_line(at_ns: int, kind: str, process: str, text: str, *, colour: bool) -> str:
    """One event as a line: local time, process, what happened."""
    clock = time.strftime("%H:%M:%S", time.localtime(at_ns / 1e9))
    shown = _paint(text, kind) if colour else text
    return f"{clock}  {process or 'supervisor':<14} {shown}"


def dated_event_line(at_ns: int, kind: str, process: str, text: str, *, colour: bool) -> str:
    """As `event_line`, with the day and the kind: events may be old."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ns / 1e9))
    shown = _paint(text, kind) if colour else text
    return f"{clock}  {process or 'supervisor':<14} {kind:<10} {shown}"


def up_summary(
    status: Mapping[str, Any],
    *,
    prog: str,
    symbols: Sequence[str],
    foreground: bool,
    where: str = "",
) -> str:
    """What runs, where to find it, and what to do next, after ``up``.

    ``where`` are options that a command needs to find this bus. An address is shown only where
    somebody serves it now.
    """
    http = status["endpoints"]["http"]
    websocket = "ws" + http.removeprefix("http")
    ready = sum(process["state"] == "ready" for process in status["processes"])
    total = len(status["processes"])
    simulated = status["mode"] == "embedded"
    sample = symbols[0] if symbols else "BTC"
    kinds = {process["kind"] for process in status["processes"] if process["state"] == "ready"}
    if "bridge" in kinds:
        served = [
            f"  browser     {http}/",
            f"  WebSocket   {websocket}/ws/market/{sample}/price/",
            f"              {websocket}/ws/v1/",
        ]
    else:
        served = [f"  browser     not yet: no bridge is ready to serve {http}/"]
    if "broker" in kinds:
        served += [
            f"  subscribe   {status['endpoints']['subscribe']}",
            f"  publish     {status['endpoints']['publish']}",
        ]
    else:
        served.append("  subscribe   not yet: the broker is not ready")
    lines = [
        "",
        f"mdbus is running: {ready} of {total} processes ready"
        + (', the data is simulated (venue "sim")' if simulated else ", live venues"),
        "",
        *served,
        f"  run dir     {status['run_dir']}   (logs: {status['run_dir']}/log/)",
        f"  stop        {'Ctrl-C, or ' if foreground else ''}{prog} down{where}",
        "",
        f"  next:       {prog} tail md/price/{where}        prices as they come",
        f"              {prog} topics{where}                what is on the bus",
        f"              {prog} status{where}                how the processes are",
        "",
    ]
    return "\n".join(lines) + "\n"


def age(seconds: float | None) -> str:
    """``4.2s``, ``3m05s``, ``2h10m``, ``5d03h``; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


def _why_it_fails(process: Mapping[str, Any]) -> list[str]:
    """The last lines of the log of a process that cannot be kept running."""
    tail = (process["last_exit"] or {}).get("log_tail")
    if process["state"] not in ("failing", "fatal") or not tail:
        return []
    return ["", f"{process['name']} is {process['state']}; its log ends with", *_indented(tail)]


def _indented(tail: Sequence[str]) -> list[str]:
    """Log lines as a terminal may show them: without what it would obey."""
    return ["  " + "".join(c if c.isprintable() else "?" for c in line) for line in tail]


def _summary(status: Mapping[str, Any]) -> str:
    health = "healthy" if status.get("healthy") else "NOT healthy"
    simulated = status.get("mode") == "embedded"
    data = ", simulated data" if simulated else ", live data"
    if odd := data_in_words(status.get("data", UNKNOWN)):
        data = f"{', simulated' if simulated else ''}; data: {odd}"
    return (
        f"{status['state']}, {health}{data}   {status['endpoints'].get('http', '')}   "
        f"pid {status.get('pid')}   {status.get('run_dir')}"
    )


def _row(process: Mapping[str, Any]) -> list[str]:
    rss, cpu, beat = process["rss_bytes"], process["cpu_percent"], process["heartbeat_age_ms"]
    state = process["state"]
    if process.get("retry_in_s") is not None:
        state += f" {process['retry_in_s']:g}s"
    return [
        process["name"],
        state,
        str(process["pid"] or "-"),
        age(process["uptime_s"]),
        str(process["restarts"]),
        "-" if cpu is None else f"{cpu:.1f}%",
        "-" if rss is None else f"{rss / 1048576:.0f} MiB",
        "-" if beat is None else f"{beat} ms",
        _exit(process["last_exit"]),
    ]


def _exit(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "-"
    how = last["signal"] or ("" if last["code"] is None else f"code {last['code']}")
    why = last["reason"] if last["reason"] not in ("", "exited") else ""
    text = f"{how}: {why}" if how and why else how or why
    return text if len(text) <= 60 else text[:59] + "…"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
        for heading, cell, width in zip(_HEADINGS, cells, widths, strict=True)
    )


def _paint(text: str, kind: str) -> str:
    colour = _COLOURS.get(kind)
    return f"{colour}{text}{_RESET}" if colour else text
