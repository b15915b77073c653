"""The text of /metrics, read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bus.wsbridge.admin.figures import Figures
from bus.wsbridge.admin.metrics import HELP, render

FIGURES = Figures(
    worker="bridge.2",
    gauges={"clients": 3},
    counters={"messages_in": 12},
    labelled={"auth_refused": ("reason", {"expired": 2, 'odd "one"\n': 1})},
    lag=[(15, 10), (1023, 14), (2047, 15)],
    lag_sum_us=4_000,
)


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_figure_is_there_with_its_labels() -> None:
    worker = ("worker", "bridge.2")
    found = read(render(FIGURES))
    assert found["mdbus_bridge_clients", (worker,)] == 3
    assert found["mdbus_bridge_messages_in_total", (worker,)] == 12
    assert found["mdbus_bridge_auth_refused_total", (("reason", "expired"), worker)] == 2
    assert found["mdbus_bridge_auth_refused_total", (("reason", 'odd "one"\n'), worker)] == 1


def test_the_histogram_is_cumulative_and_in_seconds() -> None:
    worker = ("worker", "bridge.2")
    found = read(render(FIGURES))
    assert found["mdbus_bridge_lag_seconds_bucket", (("le", "0.001023"), worker)] == 14
    assert found["mdbus_bridge_lag_seconds_bucket", (("le", "+Inf"), worker)] == 15
    assert found["mdbus_bridge_lag_seconds_count", (worker,)] == 15
    assert found["mdbus_bridge_lag_seconds_sum", (worker,)] == 0.004


def test_a_worker_that_has_done_nothing_has_figures_too() -> None:
    found = read(render(Figures(worker="w")))
    assert found["mdbus_bridge_lag_seconds_count", (("worker", "w"),)] == 0


def test_every_figure_is_explained() -> None:
    names = {*FIGURES.gauges, *FIGURES.counters, *FIGURES.labelled, "lag_seconds"}
    assert names <= HELP.keys()
    assert all(text and not text.endswith(".") for text in HELP.values())
