"""Saying things to Kraken: numbers requests, names depths, knows when a ping is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bus.clock import monotonic_ns
from bus.feeds.kraken import endpoints
from bus.feeds.link import Link
from bus.feeds.session import Session

PING_EVERY_NS = int(endpoints.PING_EVERY_S * 1e9)


class Requests:
    """What one session says. ``depth``: levels a side of every book."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._req_id = 0
        self._sent_ns = monotonic_ns()

    def ping_due(self, now_mono_ns: int) -> bool:
        """Whether nothing has been said for so long that the venue may think us gone."""
        return now_mono_ns - self._sent_ns >= PING_EVERY_NS

    async def ping(self, session: Session, link: Link) -> None:
        """Say that we are there."""
        await self._say(session, link, endpoints.ping(self._next_id()))

    async def list_pairs(self, session: Session, link: Link, *, again: bool = False) -> None:
        """Ask for the pairs; ``again``: they have been asked for and did not come."""
        for method in ("unsubscribe", "subscribe") if again else ("subscribe",):
            await self._request(session, link, method, endpoints.INSTRUMENT, ())

    async def subscribe(
        self,
        session: Session,
        link: Link,
        pairs: Sequence[str],
        channels: Iterable[str] = endpoints.CHANNELS,
    ) -> None:
        """All channels of all pairs, many pairs a request."""
        for start in range(0, len(pairs), endpoints.PAIRS_PER_REQUEST):
            part = pairs[start : start + endpoints.PAIRS_PER_REQUEST]
            for channel in channels:
                await self._request(session, link, "subscribe", channel, part)

    async def again(self, session: Session, link: Link, pair: str, channels: Sequence[str]) -> None:
        """Unsubscribe from channels of one pair and subscribe to them."""
        for channel in channels:
            await self._request(session, link, "unsubscribe", channel, [pair])
        await self.subscribe(session, link, [pair], channels)

    async def _request(
        self, session: Session, link: Link, method: str, channel: str, pairs: Sequence[str]
    ) -> None:
        text = endpoints.request(method, channel, pairs, self._depth, self._next_id())
        await self._say(session, link, text)

    async def _say(self, session: Session, link: Link, text: str) -> None:
        self._sent_ns = monotonic_ns()
        await session.send(link, text)

    def _next_id(self) -> int:
        self._req_id += 1
        return self._req_id
