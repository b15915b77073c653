"""What clients are told unasked about the health of feeds and topics: ``status``, ``heartbeat``.

Pure. Feeds announce themselves on the bus; that a topic's value has grown older than its TTL is
found out here, by looking at the lines that have clients, and told once in each direction. While a
feed is not live (or its market is closed) its own status says so, and its topics' ages say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from bus.wsbridge.channels import Channel
from bus.wsbridge.market import Market
from bus.wsbridge.messages import FeedPulse, Heartbeat, TopicState, TopicStatus, rfc3339
from bus.wsbridge.topics import Directory

_NS_PER_MS = 1_000_000
REVIEW_NS = 250_000_000
LEAST_REVIEWED = 64
PULSE_NS = 100_000_000


class Health:
    """See the module. ``lag_us`` of heartbeats is the caller's."""

    def __init__(self, market: Market, directory: Directory) -> None:
        self._market = market
        self._directory = directory
        self._told: dict[bytes, dict[str, TopicState]] = {}
        self._keys: list[bytes] = []
        self._share = 0
        self._reviewed_ns = 0
        self._pulse: dict[str, FeedPulse] = {}
        self._pulse_ns = 0

    def changed(
        self, by_key: dict[bytes, list[Channel[Any]]], now_ns: int
    ) -> list[tuple[Channel[Any], TopicStatus]]:
        """Topics that have grown stale or are live again since the last look, with their channels.

        A look at all of them is begun four times a second at most, and takes several calls where
        there are many: a twentieth of them a call.
        """
        if not self._keys:
            if 0 <= now_ns - self._reviewed_ns < REVIEW_NS:
                return []
            self._reviewed_ns = now_ns
            self._keys = list(by_key)
            self._told = {key: state for key, state in self._told.items() if key in by_key}
            self._share = max(LEAST_REVIEWED, len(self._keys) // 20)
        some, self._keys = self._keys[: self._share], self._keys[self._share :]
        return [
            (channel, status)
            for key in some
            for channel, status in self._review(key, by_key.get(key, ()), now_ns)
            if channel.wire.events
        ]

    def _review(
        self, key: bytes, channels: Sequence[Channel[Any]], now_ns: int
    ) -> Iterator[tuple[Channel[Any], TopicStatus]]:
        before = self._told.get(key, {})
        told: dict[str, TopicState] = {}
        for channel in channels:
            topic = channel.topic
            name = topic.name
            known = before.get(name, "live")
            view = self._market.feed(topic.feed)
            if view is not None and view.state != "live":
                # The feed's own status says more. Who comes meanwhile is told no more than that, so
                # a topic that was stale before is told of afterwards, however it stands.
                told[name] = "live" if known == "live" else "down"
                continue
            present = self._market.view(topic, now_ns)
            state: TopicState = "stale" if present.state == "stale" else "live"
            told[name] = state
            if state == known:
                continue
            ttl_ns = self._market.ttl_ns(topic)
            yield (
                channel,
                TopicStatus(
                    topic=name,
                    state=state,
                    age_ms=UNSET if present.age_ms is None else present.age_ms,
                    ttl_ms=UNSET if ttl_ns is None else ttl_ns // _NS_PER_MS,
                    timestamp=rfc3339(now_ns),
                ),
            )
        if told:
            self._told[key] = told

    def heartbeat(self, n: int, interval_ms: int, lag_us: int, now_ns: int) -> Heartbeat:
        """The heartbeat number ``n`` of a connection."""
        if not 0 <= now_ns - self._pulse_ns < PULSE_NS or not self._pulse:
            self._pulse_ns = now_ns
            self._pulse = self._pulses(now_ns)
        return Heartbeat(
            n=n,
            interval_ms=interval_ms,
            server_us=now_ns // 1000,
            lag_us=lag_us,
            feeds=self._pulse,
            timestamp=rfc3339(now_ns),
        )

    def _pulses(self, now_ns: int) -> dict[str, FeedPulse]:
        heard = self._market.heard_ns()
        pulses: dict[str, FeedPulse] = {}
        for name in self._directory.feeds:
            view = self._market.feed(name)
            at_ns = heard.get(name)
            pulses[name] = FeedPulse(
                state="connecting" if view is None else view.state,
                age_ms=None if at_ns is None else max(0, now_ns - at_ns) // _NS_PER_MS,
            )
        return pulses
