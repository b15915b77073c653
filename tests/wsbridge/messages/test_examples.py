"""What the protocol asks of any server validates against our schema, and nothing less does.

These are messages as another server of the protocol may send them: without the fields that ours
adds, with those that ours leaves out.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.wsbridge.schema import check_message

AT = "2026-03-02T09:15:00.000250Z"
ENVELOPE = {"timestamp": AT, "source": "venue", "seq": 12}


def data(kind: str, topic: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    symbol = {} if kind == "news" else {"symbol": "ETH"}
    inner = {**symbol, **payload, "source": "venue", "timestamp": AT}
    return {"type": kind, "data": inner, "topic": topic, **symbol, **ENVELOPE, **more}


MESSAGES: list[dict[str, Any]] = [
    data("price", "price.ETH",
         {"price": 3000.25, "change": None, "change_percent": None, "volume": None}),
    data("price", "price.ETH@venue",
         {"price": "3000.25", "change": "-1.5", "change_percent": "0.1", "volume": "7"},
         snapshot=True, epoch="e1", stale=True, age_ms=61000),
    data("quote", "quote.ETH", {"bid": 1.0, "bid_size": 2.0, "ask": None, "ask_size": None}),
    data("trade", "trades.ETH",
         {"price": 3000.0, "quantity": 0.5, "is_buyer_maker": None, "side": None},
         recovered=True),
    data("ticker", "ticker.ETH",
         {"price": 1.0, "open": 1.0, "high": 2.0, "low": 0.5, "volume": 3.0, "quote_volume": 4.0,
          "change": 0.0, "change_percent": 0.0, "bid": 1.0, "bid_size": 1.0, "ask": 1.1,
          "ask_size": 1.0, "trades": 9, "open_us": 1, "close_us": 2}),
    data("orderbook", "orderbook.ETH",
         {"bids": [[2999, 1], [2998.5, 2.5]], "asks": [[3001, 1.0]], "last_update_id": 77,
          "depth": 20}),
    data("orderbook", "orderbook.ETH#delta",
         {"bids": [[2999, 0]], "asks": [], "first_update_id": 78, "last_update_id": 80,
          "checksum": 4294967295}, delta=True, conflated=3),
    data("news", "news.crypto",
         {"id": "n-1", "category": "crypto", "headline": "h", "summary": "s", "url": "u",
          "image": None, "symbols": ["ETH"], "publisher": "p",
          "published_at": "2026-03-02T09:14:59Z"}),
    {"type": "connection", "status": "connected", "protocol": 1, "profile": "full",
     "codec": "msgpack", "connection_id": "c", "server": "other/1", "user": "u", "tier": "basic",
     "token_expires_in_ms": 1, "heartbeat_ms": 15000, "capabilities": [], "feeds": {"f": "down"},
     "limits": {"subscriptions": 50, "connections": 3, "actions_per_s": 10, "burst": 50,
                "message_bytes": 65536, "min_conflate_ms": 0, "max_depth": 1000},
     "streams": ["price"], "timestamp": AT},
    {"type": "connection", "status": "connected", "symbol": "ETH", "stream_type": "price",
     "timestamp": AT},
    {"type": "connection", "status": "closing", "code": 4001, "reason": "draining",
     "reconnect": True, "retry_after_ms": 100, "timestamp": AT},
    {"type": "subscription", "action": "subscribed", "id": "x", "symbols": ["ETH"],
     "stream_type": "price", "topics": [
         {"topic": "price.ETH", "requested": "eth", "state": "stale", "age_ms": 61000,
          "epoch": "e1", "seq": 12, "snapshot": True, "conflate_ms": 250, "already": True},
         {"topic": "trades.ETH", "requested": "eth", "state": "pending", "seq": 0,
          "snapshot": False, "conflate_ms": 0, "recovered": False, "reason": "evicted"}],
     "rejected": [{"topic": "price.X", "requested": "X", "code": "symbol_unknown",
                   "message": "m"}], "count": 2, "limit": 50, "timestamp": AT},
    {"type": "subscription", "action": "unsubscribed", "symbols": ["ETH"], "remaining": [],
     "topics": [], "rejected": [], "count": 0, "limit": 50, "reason": "forbidden",
     "timestamp": AT},
    {"type": "list", "subscribed": ["ETH"], "count": 1, "limit": 50, "subscriptions": [
        {"topic": "price.ETH", "symbol": "ETH", "stream_type": "price", "conflate_ms": 0,
         "seq": 12, "state": "live"}], "timestamp": AT},
    {"type": "pong", "ts": {"any": [1]}, "server_us": 1, "timestamp": AT},
    {"type": "snapshot_end", "topics": 1, "sent": 0, "empty": ["price.ETH"], "timestamp": AT},
    *({"type": "gap", "topic": "trades.ETH", "epoch": "e1", "from": 4, "to": 9, "count": 6,
       "reason": reason, "timestamp": AT} for reason in ("slow_client", "bus", "feed")),
    {"type": "reset", "topic": "orderbook.ETH#delta", "epoch": "e2", "reason": "feed_resync",
     "timestamp": AT},
    {"type": "status", "scope": "feed", "feed": "f", "state": "recovering", "since": AT,
     "age_ms": 1, "reason": "gap", "topics": 3, "detail": "d", "timestamp": AT},
    {"type": "status", "scope": "topic", "topic": "price.ETH", "state": "stale", "age_ms": 60001,
     "ttl_ms": 60000, "timestamp": AT},
    {"type": "status", "scope": "connection", "state": "resumed", "reason": "slow_client",
     "buffered": 0, "timestamp": AT},
    {"type": "heartbeat", "n": 1, "interval_ms": 5000, "server_us": 1, "lag_us": 3,
     "feeds": {"f": {"state": "closed", "age_ms": None}}, "timestamp": AT},
    {"type": "error", "id": 1, "code": "rate_limited", "status": 429, "message": "m",
     "retryable": True, "retry_after_ms": 10, "topic": "price.ETH", "field": "f",
     "timestamp": AT},
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one["type"])
def test_what_the_protocol_asks_for_is_enough(message: dict[str, Any]) -> None:
    check_message(message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: one["type"])
def test_without_its_time_or_with_another_type_nothing_is_a_message(
    message: dict[str, Any],
) -> None:
    poorer = copy.deepcopy(message)
    del poorer["timestamp"]
    with pytest.raises(AssertionError, match="timestamp is missing"):
        check_message(poorer)
    wrong = {**message, "timestamp": 5}
    with pytest.raises(AssertionError, match="is no string"):
        check_message(wrong)
