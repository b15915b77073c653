"""The status as Prometheus reads it: parsed back by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bus.supervision.metrics import exposition


def row(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "state": "ready",
        "restarts": 0,
        "uptime_s": 12.5,
        "cpu_percent": 50.0,
        "rss_bytes": 1_000,
        "heartbeat_age_ms": 250,
        "counters": {},
        **more,
    }


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Parsed(Collector):
    """The families of a text, to be written once more by Prometheus' own library."""

    def __init__(self, text: str) -> None:
        self._text = text

    def collect(self) -> Iterable[Metric]:
        return text_string_to_metric_families(self._text)


def rewritten(text: str) -> str:
    return generate_latest(Parsed(text)).decode()


def test_figures_are_in_base_units_one_family_for_all_processes() -> None:
    found = samples(
        exposition(
            {
                "state": "running",
                "processes": [
                    row("broker", "broker", counters={"messages_in": 7}),
                    row(
                        "feed.binance",
                        "feed",
                        restarts=2,
                        state="starting",
                        cpu_percent=None,
                        counters={"state": "stale", "gaps": 3, "lateness_ms": 1.5},
                    ),
                ],
            }
        )
    )
    broker, feed = (("process", "broker"),), (("process", "feed.binance"),)
    assert found["mdbus_up", ()] == 1
    assert found["mdbus_process_ready", broker] == 1
    assert found["mdbus_process_ready", feed] == 0
    assert found["mdbus_process_restarts_total", feed] == 2
    assert found["mdbus_process_cpu_ratio", broker] == 0.5
    assert ("mdbus_process_cpu_ratio", feed) not in found, "not known is not 0"
    assert found["mdbus_process_heartbeat_age_seconds", feed] == 0.25
    assert found["mdbus_broker_messages_in", broker] == 7
    assert found["mdbus_feed_gaps", feed] == 3
    info = (
        "mdbus_process_info",
        (("data", "stale"), ("kind", "feed"), *feed, ("state", "starting")),
    )
    assert found[info] == 1


def test_without_a_supervisor_there_is_one_figure() -> None:
    assert samples(exposition(None)) == {("mdbus_up", ()): 0}
    assert samples(exposition({"state": "stopping", "processes": []}))["mdbus_up", ()] == 0


words = st.text(max_size=20)


@given(
    st.lists(
        st.tuples(words, words, words, st.dictionaries(words, st.floats() | st.integers() | words)),
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
def test_whatever_a_process_calls_itself_or_counts_the_text_can_be_read(
    rows: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    processes = [
        row(name, kind, state=state, counters=counters) for name, kind, state, counters in rows
    ]
    found = samples(exposition({"state": "running", "processes": processes}))
    assert sum(key[0] == "mdbus_process_uptime_seconds" for key in found) == len(rows)


@given(
    st.lists(
        st.tuples(
            words,
            st.dictionaries(
                st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.floats() | st.integers()
            ),
        ),
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
def test_the_text_is_what_the_library_of_prometheus_writes(
    rows: list[tuple[str, dict[str, float]]],
) -> None:
    processes = [row(name, "feed", counters=counters) for name, counters in rows]
    text = exposition({"state": "running", "processes": processes})
    assert rewritten(text) == text
    assert rewritten(exposition(None)) == exposition(None)
