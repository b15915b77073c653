"""The figures of a bridge worker as Prometheus text. Pure: counts in, text out.

The counts are plain integers that the bridge keeps anyway, so a message costs nothing here;
``prometheus_client`` only writes the text (1.4 µs an observation would be its price on the path).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bus.wsbridge.admin.figures import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "mdbus_bridge_"


HELP: dict[str, str] = {
    "connections": "TCP connections open now",
    "clients": "WebSocket clients connected now",
    "handshakes": "handshakes in progress",
    "users_on_host": "users with a connection, all workers of this host",
    "connections_on_host": "connections counted for a user or address, all workers of this host",
    "workers_on_host": "bridge workers of this host",
    "topics": "topics that clients of this worker hold",
    "bus_topics": "topics subscribed on the bus",
    "bus_connected": "1 while the bus is there",
    "draining": "1 while this worker is leaving",
    "slow_clients": "clients whose socket does not take everything now",
    "conflating_clients": "of these, clients that get latest values only",
    "buffered_bytes": "bytes written and not taken by the kernel, all clients",
    "deny_list_entries": "revoked tokens and users",
    "deny_list_readable": "0 while the deny list cannot be read and nobody is let in",
    "loop_lag_seconds": "worst lateness of the event loop since the last heartbeat",
    "messages_in": "messages from the bus",
    "frames_out": "frames made for clients, each counted once for each client",
    "bytes_out": "bytes written to clients",
    "requests": "requests of clients",
    "slow_closed": "clients closed because they read too slowly",
    "handshakes_dropped": "handshakes that did not come to their end in time",
    "internal_errors": "faults of ours that cost a client its connection",
    "dropped": "what was not delivered, by reason",
    "refused": "handshakes refused, by reason",
    "auth_refused": "tokens refused, by the rule they break",
    "auth_admitted": "tokens accepted, by the way they came",
    "limits_hit": "limits that somebody has reached, by limit",
    "timeouts": "connections reminded or ended by time, by cause",
    "closed": "connections closed by this server, by close code",
    "lag_seconds": "from the bus publisher to the frame for the clients",
}


class _Reading(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        return _families(self._figures)


def render(figures: Figures) -> bytes:
    """The text of ``/metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Reading(figures))
    return generate_latest(registry)


def _families(figures: Figures) -> Iterator[Metric]:
    worker = figures.worker
    for name, value in figures.gauges.items():
        gauge = GaugeMetricFamily(PREFIX + name, HELP[name], labels=["worker"])
        gauge.add_metric([worker], value)
        yield gauge
    for name, value in figures.counters.items():
        counter = CounterMetricFamily(PREFIX + name, HELP[name], labels=["worker"])
        counter.add_metric([worker], value)
        yield counter
    for name, (label, counts) in figures.labelled.items():
        family = CounterMetricFamily(PREFIX + name, HELP[name], labels=["worker", label])
        for key, value in counts.items():
            family.add_metric([worker, str(key)], value)
        yield family
    name = "lag_seconds"
    histogram = HistogramMetricFamily(PREFIX + name, HELP[name], labels=["worker"])
    buckets = [(f"{bound_us / 1e6:g}", float(count)) for bound_us, count in figures.lag]
    total = figures.lag[-1][1] if figures.lag else 0
    histogram.add_metric([worker], [*buckets, ("+Inf", float(total))], figures.lag_sum_us / 1e6)
    yield histogram
