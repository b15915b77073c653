"""The figures of ``mdbus status --json`` in the text format that Prometheus reads.

One family for each figure every process has, and one for each counter of a kind of process:
``mdbus_feed_messages_in{process="feed.binance"}``. Counters of the processes carry no type: the
heartbeat does not say which of them only grow. Those that are words (a state) are labels of
``mdbus_process_info``. Pure: a status in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import UnknownMetricFamily
from prometheus_client.registry import Collector

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


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(status: Mapping[str, Any] | None) -> str:
    """The text for a status as ``mdbus status --json`` gives it; None: no supervisor runs."""
    families = [_up(status)]
    if status is not None:
        families += _of_processes(status.get("processes", ()))
    return generate_latest(_Families(families)).decode()


def _up(status: Mapping[str, Any] | None) -> Metric:
    running = status is not None and status.get("state") == "running"
    return GaugeMetricFamily("mdbus_up", "1 while the supervisor runs and stops nothing.", running)


def _of_processes(processes: Iterable[Mapping[str, Any]]) -> list[Metric]:
    rows = list(processes)
    ready = GaugeMetricFamily("mdbus_process_ready", "1 while it serves.", labels=["process"])
    restarts = CounterMetricFamily(
        "mdbus_process_restarts",
        "Starts after an end that nobody asked for.",
        labels=["process"],
    )
    info = GaugeMetricFamily(
        "mdbus_process_info",
        "What it is and says of itself.",
        labels=["process", "kind", "state", "data"],
    )
    for row in rows:
        name = str(row["name"])
        ready.add_metric([name], row["state"] == "ready")
        restarts.add_metric([name], row["restarts"])
        data = row.get("counters", {}).get("state", "")
        info.add_metric([name, str(row["kind"]), str(row["state"]), str(data)], 1)
    return [ready, restarts, info, *_figures(rows), *_counters(rows)]


def _figures(rows: list[Mapping[str, Any]]) -> Iterable[Metric]:
    for key, name, text, factor in _FIGURES:
        family = GaugeMetricFamily(f"mdbus_process_{name}", text, labels=["process"])
        for row in rows:
            if (value := row.get(key)) is not None:
                family.add_metric([str(row["name"])], value * factor)
        yield family


def _counters(rows: list[Mapping[str, Any]]) -> Iterable[Metric]:
    families: dict[str, UnknownMetricFamily] = {}
    for row in rows:
        for key, value in row.get("counters", {}).items():
            if not isinstance(value, int | float):
                continue
            name = _NOT_OF_A_NAME.sub("_", f"mdbus_{row['kind']}_{key}")
            if name not in families:
                text = f"{key}, as the heartbeat of each {row['kind']} says."
                families[name] = UnknownMetricFamily(name, text, labels=["process"])
            families[name].add_metric([str(row["name"])], value)
    return families.values()
