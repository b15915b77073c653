"""What is said to Kraken: numbers requests, names depths, knows when a ping is due. No socket."""

from __future__ import annotations

from collections.abc import Sequence

from bus.clock import monotonic_ns
from bus.feeds.kraken import endpoints

PING_EVERY_NS = int(endpoints.PING_EVERY_S * 1e9)


class Requests:
    """What one session says. ``depth``: levels a side of every book."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._req_id = 0
        self._said_ns = monotonic_ns()

    def ping_due(self, now_mono_ns: int) -> bool:
        """Whether nothing has been said for so long that the venue may think us gone."""
        return now_mono_ns - self._said_ns >= PING_EVERY_NS

    def ping(self) -> str:
        """Says that we are there."""
        return endpoints.ping(self._next_id())

    def list_pairs(self, *, again: bool = False) -> list[str]:
        """Ask for the pairs; ``again``: they have been asked for and did not come."""
        methods = ("unsubscribe", "subscribe") if again else ("subscribe",)
        return [self._request(method, endpoints.INSTRUMENT, ()) for method in methods]

    def change(self, method: str, streams: Sequence[str]) -> list[str]:
        """``subscribe`` or ``unsubscribe``: one channel and many pairs a request."""
        pairs: dict[str, list[str]] = {}
        for stream in streams:
            pair, _, channel = stream.partition("@")
            pairs.setdefault(channel, []).append(pair)
        step = endpoints.PAIRS_PER_REQUEST
        return [
            self._request(method, channel, wanted[start : start + step])
            for channel, wanted in pairs.items()
            for start in range(0, len(wanted), step)
        ]

    def _request(self, method: str, channel: str, pairs: Sequence[str]) -> str:
        return endpoints.request(method, channel, pairs, self._depth, self._next_id())

    def _next_id(self) -> int:
        self._said_ns = monotonic_ns()
        self._req_id += 1
        return self._req_id
