"""What an operator can look at: connections, topics, feeds, and the figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.clock import monotonic_ns
from bus.wsbridge.admin.figures import Figures
from bus.wsbridge.limits.ledger import LedgerError

if TYPE_CHECKING:
    from bus.wsbridge.connection import ClientConnection
    from bus.wsbridge.server import Server

DEFAULT_ROWS = 1_000
SORTS = ("age", "bytes", "buffered", "topics")


def connections(server: Server, *, sort: str, limit: int) -> dict[str, Any]:
    """``connz``: the clients of this worker, the most of ``sort`` first, at most ``limit``."""
    server.bridge.fanout.out.count_bytes()
    rows = [_connection(client) for client in server.clients]
    key = {"age": "age_s", "bytes": "bytes_out", "buffered": "buffered_bytes"}.get(sort, sort)
    rows.sort(key=lambda row: row[key], reverse=True)
    return {"worker": server.name, "count": len(rows), "connections": rows[:limit]}


def _connection(client: ClientConnection) -> dict[str, Any]:
    visit = client.visit
    access = visit.warden.access
    return {
        "id": client.session.connection_id,
        "address": visit.origin.address,
        "user": visit.user,
        "tier": None if access is None else access.tier,
        "waits_for_token": visit.warden.is_locked,
        "codec": client.wire.codec,
        "age_s": round((monotonic_ns() - client.since_ns) / 1e9, 1),
        "topics": client.session.held_count,
        "bytes_out": client.bytes_out,
        "buffered_bytes": client.buffered_bytes,
        "queued_bytes": client.queued_bytes,
        "is_conflating": client.is_pressed,
        "dropped_messages": client.dropped_messages,
    }


def topics(server: Server, *, limit: int) -> dict[str, Any]:
    """``topicz``: what clients hold, the most wanted first, and how often the bus has it."""
    counts: dict[str, dict[str, Any]] = {}
    for channels in server.bridge.subscriptions.by_bus_key.values():
        for channel in channels:
            row = counts.setdefault(
                channel.topic.name,
                {
                    "topic": channel.topic.name,
                    "bus_topic": channel.topic.bus_key.decode("ascii", "replace"),
                    "clients": 0,
                    "channels": 0,
                    "updates": 0,
                },
            )
            row["clients"] += len(channel.clients)
            row["channels"] += 1
            row["updates"] = max(row["updates"], channel.updates)
    rows = sorted(counts.values(), key=lambda row: (-row["clients"], row["topic"]))
    return {"worker": server.name, "count": len(rows), "topics": rows[:limit]}


def feeds(server: Server) -> dict[str, Any]:
    """``feedz``: the feeds as this worker sees them."""
    directory, market = server.bridge.directory, server.bridge.market
    rows = []
    for name in directory.feeds:
        view = market.feed(name)
        rows.append(
            {
                "feed": name,
                "state": "connecting" if view is None else view.state,
                "reason": None if view is None else view.reason,
                "detail": None if view is None else view.detail,
                "since_ts_ns": None if view is None else view.since_ts_ns,
                "topics": directory.topic_count_of[name],
            }
        )
    return {"worker": server.name, "bus_connected": server.upstream.is_connected, "feeds": rows}


def figures(server: Server) -> Figures:
    """A reading of every figure of this worker."""
    bridge, entrance = server.bridge, server.entrance
    inbox = server.upstream.stats()
    behind = list(server.behind)
    try:
        on_host = entrance.ledger.counts()
    except LedgerError:
        on_host = {}
    gauges: dict[str, float] = {
        "connections": server.connection_count,
        "clients": server.client_count,
        "handshakes": len(server.handshakes),
        "topics": bridge.subscriptions.channel_count,
        "bus_topics": bridge.subscriptions.bus_topic_count,
        "bus_connected": int(server.upstream.is_connected),
        "draining": int(server.is_draining),
        "slow_clients": len(behind),
        "conflating_clients": sum(1 for client in behind if client.is_pressed),
        "buffered_bytes": sum(client.buffered_bytes for client in behind),
        "loop_lag_seconds": server.worst_lag_s,
    }
    gauges |= {f"{name}_on_host": on_host[name] for name in ("connections", "users", "workers")
               if name in on_host}  # fmt: skip
    gate = entrance.gate
    if gate is not None:
        gauges["deny_list_entries"] = gate.deny_list.count
        gauges["deny_list_readable"] = int(not gate.deny_list.problem)
    lag, lag_sum_us = bridge.fanout.lag.cumulative()
    return Figures(
        worker=server.name,
        gauges=gauges,
        counters={
            "messages_in": inbox.messages,
            "frames_out": bridge.fanout.out.messages_out,
            "bytes_out": server.bytes_out,
            "requests": server.requests_in,
            "slow_closed": server.slow_closed,
            "handshakes_dropped": server.handshakes.dropped,
            "internal_errors": server.fault_count,
        },
        labelled={
            "dropped": (
                "reason",
                {
                    "bus_loss": inbox.lost,
                    "malformed": bridge.fanout.malformed,
                    "slow_client_bytes": server.dropped_bytes,
                },
            ),
            "refused": ("reason", server.refused),
            "auth_refused": ("reason", {} if gate is None else gate.refusals),
            "auth_admitted": ("way", {} if gate is None else gate.admitted),
            "limits_hit": ("limit", entrance.limits_hit),
            "timeouts": ("cause", entrance.timeouts),
            "closed": ("code", {str(code): count for code, count in server.closes.items()}),
        },
        lag=lag,
        lag_sum_us=lag_sum_us,
    )
