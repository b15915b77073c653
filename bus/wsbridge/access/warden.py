"""What a session asks before it acts: is the client let in, may it have this, is it too fast? Pure.

One per connection. A locked one (no token yet) lets only ``auth`` and ``ping`` through. Every
message counts as an action, whatever it is; refusing is counted too: the third time within 10 s
the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.wsbridge.access.grant import Access
from bus.wsbridge.limits.bucket import Bucket, Rate
from bus.wsbridge.messages import AuthRequest, Limits, Ping
from bus.wsbridge.strikes import Strikes
from bus.wsbridge.topics import MarketTopic

STRIKES = 3
"""Refused actions within :data:`STRIKES_WINDOW_NS` that close the connection with 4007."""
STRIKES_WINDOW_NS = 10_000_000_000
_NS_PER_MS = 1_000_000

Quota = Callable[[str, int, int], int]
"""``quota(user, per_minute, now_ns)``: take one action of a user; 0, or the ns until there is
one. It counts for all workers of this host."""


@dataclass(frozen=True, slots=True)
class Overspent:
    """An action too many. ``closes``: and it was not the first one."""

    retry_after_ms: int
    closes: bool


class Warden:
    """See the module. ``base`` are the limits in force before anybody is let in."""

    def __init__(
        self, base: Limits, access: Access | None = None, quota: Quota | None = None
    ) -> None:
        self._base = base
        self.access = access
        self._quota = quota
        self._bucket = None
        if isinstance(base.actions_per_s, float) and isinstance(base.burst, int):
            self._bucket = Bucket(Rate.per_second(base.actions_per_s, base.burst))
        self._strikes = Strikes(STRIKES, STRIKES_WINDOW_NS)

    @property
    def is_locked(self) -> bool:
        """Whether a token is still to come."""
        return self.access is None

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._base if self.access is None else self.access.limits

    def spend(self, now_ns: int) -> Overspent | None:
        """Count one action; None when it may be done."""
        wait_ns = 0 if self._bucket is None else self._bucket.take(now_ns)
        access = self.access
        if not wait_ns and access is not None and access.user is not None:
            per_minute = access.actions_per_minute
            if self._quota is not None and per_minute is not None:
                wait_ns = self._quota(access.user, per_minute, now_ns)
        if not wait_ns:
            return None
        return Overspent(-(-wait_ns // _NS_PER_MS), self._strikes.add(now_ns))

    def lets_through(self, request: object) -> bool:
        """Whether such a request may be looked at before the client is let in."""
        return self.access is not None or isinstance(request, AuthRequest | Ping)

    def allows(self, topic: MarketTopic) -> bool:
        """Whether the client may have the topic."""
        if self.access is None:
            return False
        names = [topic.name]
        if topic.feed_symbol and topic.feed_symbol.upper() != topic.symbol:
            _, at, source = topic.name.partition("@")
            names.append(f"{topic.stream}.{topic.feed_symbol}{at}{source}")
        return self.access.topics.allows(*names)

    def allows_pattern(self, text: str) -> bool:
        """Whether the client may have everything that a wildcard (``price.*``) can match."""
        return self.access is not None and self.access.topics.allows(text)
