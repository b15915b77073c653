"""The figures of ``mdbus status --json`` in the text format that Prometheus reads.

One family for each figure every process has, and one for each counter of a kind of process:
``mdbus_feed_messages_in{process="feed.binance"}``. Counters of the processes carry no type: the
heartbeat does not say which of them only grow. Those that are words (a state) are labels of
``mdbus_process_info``. Pure: a status in, text out.

The text is written here, byte for byte as ``prometheus_client`` writes it (a test holds that):
importing its server, which comes with it, takes longer than all the rest of ``mdbus metrics``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

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


_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_GREATEST_PLAIN: Final = 1e6
"""From here on numbers are written with an exponent."""


class _Family(NamedTuple):
    """One figure: ``samples`` are pairs of labels and value. ``text`` is plain, without escapes."""

    name: str
    kind: str
    text: str
    samples: list[tuple[Mapping[str, str], float]]

    def lines(self) -> Iterable[str]:
        """The lines of the family."""
        yield f"# HELP {self.name} {self.text}\n"
        yield f"# TYPE {self.name} {self.kind}\n"
        for labels, value in self.samples:
            pairs = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
            yield (
                f"{self.name}{{{pairs}}} {_number(value)}\n"
                if pairs
                else (f"{self.name} {_number(value)}\n")
            )


def exposition(status: Mapping[str, Any] | None) -> str:
    """The text for a status as ``mdbus status --json`` gives it; None: no supervisor runs."""
    families = [_up(status)]
    if status is not None:
        families += _of_processes(status.get("processes", ()))
    return "".join(line for family in families for line in family.lines())


def _up(status: Mapping[str, Any] | None) -> _Family:
    running = status is not None and status.get("state") == "running"
    text = "1 while the supervisor runs and stops nothing."
    return _Family("mdbus_up", "gauge", text, [({}, running)])


def _of_processes(processes: Iterable[Mapping[str, Any]]) -> list[_Family]:
    rows = list(processes)
    ready = _Family("mdbus_process_ready", "gauge", "1 while it serves.", [])
    restarts = _Family(
        "mdbus_process_restarts_total",
        "counter",
        "Starts after an end that nobody asked for.",
        [],
    )
    info = _Family("mdbus_process_info", "gauge", "What it is and says of itself.", [])
    for row in rows:
        process = {"process": str(row["name"])}
        ready.samples.append((process, row["state"] == "ready"))
        restarts.samples.append((process, row["restarts"]))
        data = str(row.get("counters", {}).get("state", ""))
        said = {"kind": str(row["kind"]), "state": str(row["state"]), "data": data}
        info.samples.append((process | said, 1))
    return [ready, restarts, info, *_figures(rows), *_counters(rows)]


def _figures(rows: list[Mapping[str, Any]]) -> Iterable[_Family]:
    for key, name, text, factor in _FIGURES:
        known = [(row["name"], row[key]) for row in rows if row.get(key) is not None]
        family = _Family(f"mdbus_process_{name}", "gauge", text, [])
        for process, value in known:
            family.samples.append(({"process": str(process)}, value * factor))
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
                plain = text.replace("\\", r"\\").replace("\n", r"\n")
                families[name] = _Family(name, "untyped", plain, [])
            families[name].samples.append(({"process": str(row["name"])}, value))
    return families.values()


def _escaped(label: str) -> str:
    return label.translate(_ESCAPES)


def _number(value: float) -> str:
    """As Go writes it, whose programs read it."""
    number = float(value)
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    text = repr(number)
    whole, dot, rest = text.partition(".")
    if number < _GREATEST_PLAIN or not dot or "e" in text:
        return text
    mantissa = f"{whole[0]}.{whole[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"
