"""Heartbeats: each client's at its own moment, so that they never come all at once.

Pure. Clients arrive in crowds, and a crowd whose heartbeats fell together would stop everybody's
ticks four times a minute. So the first one comes after a random part of the interval, and of those
that are due together only so many are told before everybody else gets a turn of the loop. Clients
that are due in the same turn, with the same number, share one message.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from bus.wsbridge.client import BridgeClient
from bus.wsbridge.faults import Faults
from bus.wsbridge.health import Health
from bus.wsbridge.notices import Notice
from bus.wsbridge.schedule import Schedule

AT_ONCE = 8
"""Heartbeats before everybody else gets a turn: less than half a millisecond."""
_NS_PER_MS = 1_000_000
_FIRST_SHARE = (0.1, 1.0)


class Heartbeats:
    """See the module. ``lag_us`` tells at a time what they say of the bridge's delay."""

    def __init__(self, health: Health, lag_us: Callable[[int], int], faults: Faults) -> None:
        self._health = health
        self._lag_us = lag_us
        self._faults = faults
        self._due: Schedule[BridgeClient] = Schedule()
        self.first_share: Callable[[], float] = lambda: random.uniform(*_FIRST_SHARE)
        """The part of an interval after which a first heartbeat comes."""

    def plan(self, client: BridgeClient, now_ns: int) -> None:
        """The client's interval may have changed: begin anew."""
        self._due.discard(client)
        interval_ns = client.session.profile.heartbeat_ms * _NS_PER_MS
        if interval_ns:
            self._due.add(client, now_ns + int(interval_ns * self.first_share()))

    def discard(self, client: BridgeClient) -> None:
        """The client is gone."""
        self._due.discard(client)

    def beat(self, now_ns: int) -> bool:
        """Tell some of those that are due; whether there are more."""
        due = self._due.take_due(now_ns, AT_ONCE)
        notices: dict[tuple[int, int], Notice] = {}
        self._faults.each(due, lambda client: self._tell(client, notices, now_ns))
        return len(due) == AT_ONCE

    def _tell(
        self, client: BridgeClient, notices: dict[tuple[int, int], Notice], now_ns: int
    ) -> None:
        interval_ms = client.session.profile.heartbeat_ms
        self._due.add(client, now_ns + interval_ms * _NS_PER_MS)
        if client.session.is_locked:  # it hears of nothing before it has shown a token
            return
        client.heartbeats += 1
        key = (client.heartbeats, interval_ms)
        notice = notices.get(key)
        if notice is None:
            lag_us = self._lag_us(now_ns)
            beat = self._health.heartbeat(client.heartbeats, interval_ms, lag_us, now_ns)
            notice = notices[key] = Notice(beat)
        client.notify(notice, now_ns)
        client.flush()
