"""``python -m bus.broker --config FILE --name broker``: the broker as its own process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import zmq

from bus.broker.proxy import Broker, BrokerStats
from bus.clock import NS_PER_MS, NS_PER_SECOND, monotonic_ns
from bus.config import Settings
from bus.runtime import BlockingLife, get_logger, run_blocking

_SERVICE_INTERVAL_NS: Final = 100 * NS_PER_MS
_LAG_WARNING_MS: Final = 1_000
_LAG_WARNING_INTERVAL_NS: Final = 10 * NS_PER_SECOND

_log = get_logger("broker")


def body(life: BlockingLife, settings: Settings) -> None:
    """Serve until asked to stop."""
    endpoints = settings.endpoints
    broker = Broker(settings.broker, endpoints.publish, endpoints.subscribe)
    try:
        life.report = lambda: report(broker.stats())
        life.ready({"publish": broker.publish, "subscribe": broker.subscribe})
        poller = zmq.Poller()
        poller.register(broker.outlet, zmq.POLLIN)
        poller.register(life.signal_fd, zmq.POLLIN)
        if life.link_fd is not None:
            poller.register(life.link_fd, zmq.POLLIN)
        next_service_ns = next_warning_ns = 0
        while not life.stopping:
            broker.turn(poller)
            now = monotonic_ns()
            if now >= next_service_ns:
                next_service_ns = now + _SERVICE_INTERVAL_NS
                life.service(now)
                lag_ms = broker.lag_ms
                if lag_ms > _LAG_WARNING_MS and now >= next_warning_ns:
                    next_warning_ns = now + _LAG_WARNING_INTERVAL_NS
                    _log.warning("the cache is behind", lag_ms=round(lag_ms))
        figures = broker.stats()
        _log.info(
            "served",
            messages=figures.messages_in,
            topics=figures.cache.topics,
            snapshots=figures.answers.snapshots,
            replays=figures.answers.replays,
        )
    finally:
        broker.close()


def report(stats: BrokerStats) -> dict[str, int | float | str]:
    """The broker's counters for the heartbeat, flat."""
    counters: dict[str, int | float | str] = {
        "messages_in": stats.messages_in,
        "messages_out": stats.messages_out,
        "bytes_in": stats.bytes_in,
        "cache_lag_ms": round(stats.cache_lag_ms, 3),
        "cache_lag_peak_ms": round(stats.cache_lag_peak_ms, 3),
        "queue_depth": stats.answers.waiting,
    }
    counters |= {f"cache_{name}": value for name, value in asdict(stats.cache).items()}
    counters |= {f"answers_{name}": value for name, value in asdict(stats.answers).items()}
    return counters


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return run_blocking(body, argv)


if __name__ == "__main__":
    sys.exit(main())
