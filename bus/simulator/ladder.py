"""One simulated order book: two ladders of price levels and the venue's update counter.

Pure. Every change of a level takes the next update id; what changed since the last diff is
remembered twice, once for each speed of the venue's diff stream. The book refuses to cross: a
bid at or above the best ask is a bug of the caller.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

Level = tuple[int, int]
"""Price and size, both ``_e8``."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What one diff-depth event says: the update ids it covers and the changed levels.

    ``bids`` and ``asks`` hold (price, absolute size), best first; size 0 removes the level.
    """

    first_id: int
    last_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(slots=True)
class _Pending:
    """Changes since one diff stream's last event."""

    first_id: int
    bids: set[int] = field(default_factory=set)
    asks: set[int] = field(default_factory=set)


class Ladder:
    """Bids and asks of one symbol. Sizes are ``_e8`` and never negative."""

    __slots__ = ("_pending", "_sizes", "ask_prices", "bid_prices", "update_id")

    def __init__(self, update_id: int, diff_streams: int = 2) -> None:
        self.update_id = update_id
        self.bid_prices: list[int] = []
        self.ask_prices: list[int] = []
        self._sizes: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._pending = [_Pending(update_id + 1) for _ in range(diff_streams)]

    def best(self) -> tuple[int, int, int, int]:
        """Bid price, bid size, ask price, ask size. Both sides must hold a level."""
        bid, ask = self.bid_prices[-1], self.ask_prices[0]
        return bid, self._sizes[0][bid], ask, self._sizes[1][ask]

    def size(self, is_bid: bool, price_e8: int) -> int:
        """Size resting at a price, 0 where there is none."""
        return self._sizes[0 if is_bid else 1].get(price_e8, 0)

    def set(self, is_bid: bool, price_e8: int, size_e8: int) -> None:
        """Make the level hold ``size_e8`` (0 removes it) and count one update."""
        sizes = self._sizes[0 if is_bid else 1]
        prices = self.bid_prices if is_bid else self.ask_prices
        if size_e8 > 0:
            if price_e8 not in sizes:
                if is_bid:
                    assert not self.ask_prices or price_e8 < self.ask_prices[0], "crossed"
                else:
                    assert not self.bid_prices or price_e8 > self.bid_prices[-1], "crossed"
                insort(prices, price_e8)
            sizes[price_e8] = size_e8
        else:
            del sizes[price_e8]
            del prices[bisect_left(prices, price_e8)]
        self.update_id += 1
        for pending in self._pending:
            (pending.bids if is_bid else pending.asks).add(price_e8)

    def take_diff(self, stream: int) -> Diff | None:
        """Everything since this diff stream's previous call, or ``None`` when nothing changed."""
        pending = self._pending[stream]
        if not pending.bids and not pending.asks:
            return None
        self._pending[stream] = _Pending(self.update_id + 1)
        bids, asks = self._sizes
        return Diff(
            pending.first_id,
            self.update_id,
            tuple((price, bids.get(price, 0)) for price in sorted(pending.bids, reverse=True)),
            tuple((price, asks.get(price, 0)) for price in sorted(pending.asks)),
        )

    def skip_diff(self, stream: int) -> None:
        """Forget what this diff stream would have said: nobody listens."""
        pending = self._pending[stream]
        if pending.bids or pending.asks:
            self._pending[stream] = _Pending(self.update_id + 1)

    def top(self, limit: int) -> tuple[list[Level], list[Level]]:
        """The best ``limit`` levels of each side, best first: bids, asks."""
        bids, asks = self._sizes
        return (
            [(price, bids[price]) for price in self.bid_prices[: -limit - 1 : -1]],
            [(price, asks[price]) for price in self.ask_prices[:limit]],
        )
