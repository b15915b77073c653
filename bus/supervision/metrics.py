"""The figures of ``mdbus status --json`` in the text format that Prometheus reads.

One family for each figure every process has, and one for each counter of a kind of process:
``mdbus_feed_messages_in{process="feed.binance"}``. Counters of the processes carry no type: the
heartbeat does not say which of them only grow. Those that are words (a state) are labels of
``mdbus_process_info``. Pure: a status in, text out.

The text is written here and not by Prometheus' own library, which brings an HTTP server: to import
that takes longer than to ask, to write and to print.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FIGURES: Final = (
    ("uptime_s", "uptime_seconds", "Seconds since the process started.", 1.0),
    ("cpu_percent", "cpu_ratio", "Processor time, as a share of one core.", 0.01),
    ("rss_bytes", "resident_memory_bytes", "Resident memory.", 1.0),
    ("fds", "open_fds", "Open file descriptors.", 1.0),
    ("threads", "threads", "Threads.", 1.0),
    ("heartbeat_age_ms", "heartbeat_age_seconds", "Seconds since its last heartbeat.", 0.001),
    ("loop_lag_ms", "loop_lag_seconds", "How late its event loop was at last.", 0.001),
)
_NOT_OF_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


class _Family:
    """A figure of all processes: what it means, and a sample for each."""

    def __init__(self, name: str, kind: str, text: str, *labels: str) -> None:
        self._name = name
        self._kind = kind
        self._text = text
        self._labels = labels
        self._samples: list[str] = []

    def add(self, value: float, *labels: str) -> None:
        """One sample, with a value for each label."""
        pairs = zip(self._labels, labels, strict=True)
        listed = ",".join(f'{label}="{_escaped(text, quoted=True)}"' for label, text in pairs)
        braces = f"{{{listed}}}" if listed else ""
        self._samples.append(f"{self._name}{braces} {_number(value)}\n")

    def lines(self) -> str:
        """Its lines, the last of which ends, too."""
        about = f"# HELP {self._name} {_escaped(self._text)}\n# TYPE {self._name} {self._kind}\n"
        return about + "".join(self._samples)


def exposition(status: Mapping[str, Any] | None) -> str:
    """The text for a status as ``mdbus status --json`` gives it; None: no supervisor runs."""
    up = _Family("mdbus_up", "gauge", "1 while the supervisor runs and stops nothing.")
    up.add(status is not None and status.get("state") == "running")
    families = [up]
    if status is not None:
        families += _of_processes(list(status.get("processes", ())))
    return "".join(family.lines() for family in families)


def _of_processes(rows: list[Mapping[str, Any]]) -> list[_Family]:
    ready = _Family("mdbus_process_ready", "gauge", "1 while it serves.", "process")
    restarts = _Family(
        "mdbus_process_restarts_total",
        "counter",
        "Starts after an end that nobody asked for.",
        "process",
    )
    info = _Family(
        "mdbus_process_info",
        "gauge",
        "What it is and says of itself.",
        *("process", "kind", "state", "data"),
    )
    for row in rows:
        name = str(row["name"])
        ready.add(row["state"] == "ready", name)
        restarts.add(row["restarts"], name)
        data = row.get("counters", {}).get("state", "")
        info.add(1, name, str(row["kind"]), str(row["state"]), str(data))
    return [ready, restarts, info, *_figures(rows), *_counters(rows)]


def _figures(rows: list[Mapping[str, Any]]) -> Iterable[_Family]:
    for key, name, text, factor in _FIGURES:
        family = _Family(f"mdbus_process_{name}", "gauge", text, "process")
        for row in rows:
            if (value := row.get(key)) is not None:
                family.add(value * factor, str(row["name"]))
        yield family


def _counters(rows: list[Mapping[str, Any]]) -> Iterable[_Family]:
    families: dict[str, _Family] = {}
    for row in rows:
        for key, value in row.get("counters", {}).items():
            if not isinstance(value, int | float):
                continue
            name = _NOT_OF_A_NAME.sub("_", f"mdbus_{row['kind']}_{key}")
            if name not in families:
                text = f"{key}, as the heartbeat of each {row['kind']} says."
                families[name] = _Family(name, "untyped", text, "process")
            families[name].add(value, str(row["name"]))
    return families.values()


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text


def _number(value: float) -> str:
    """As Go writes it: ``+Inf``, ``-Inf``, ``NaN``."""
    number = float(value)
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    return repr(number)
