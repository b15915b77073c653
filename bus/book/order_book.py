"""One instrument's order book: price levels with absolute sizes, best first on demand.

Prices and sizes are floats read from the venue's decimal text. Up to 15 significant digits a
decimal text, its float and the float's shortest text are one and the same number, so floats serve
as exact keys: two spellings of a price ("1.5", "1.50000000") meet in one level, two different
prices never do. (A spot venue's 8 decimals leave prices up to 9,999,999.99999999 exact.)

Each side is a dict (price to size) beside a list of its prices, kept in order with the **best
price last**: nearly all changes happen near the best price, and there a list insertion moves few
elements. Most changes only alter a size and never touch the list. The cost of a change therefore
does not grow with uptime, nor noticeably with the number of levels.

It must not know sequence numbers (``bus.book.sync`` does), venues or the clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

Level = tuple[float, float]
"""(price, size); a size of 0 in an update removes the level."""

DEFAULT_MAX_LEVELS: Final = 20_000


class OrderBook:
    """Both sides of one book.

    ``max_levels`` bounds each side. When a side outgrows it, the tenth of it that is farthest
    from the best price is forgotten and counted in ``trimmed_levels``: those levels are then
    unknown, exactly as if they had been outside the venue's snapshot.
    """

    __slots__ = (
        "_ask_keys",
        "_ask_sizes",
        "_bid_keys",
        "_bid_sizes",
        "_max_levels",
        "trimmed_levels",
    )

    def __init__(self, max_levels: int = DEFAULT_MAX_LEVELS) -> None:
        if max_levels < 1:
            raise ValueError(f"max_levels must be at least 1, not {max_levels}")
        self._max_levels = max_levels
        self._bid_sizes: dict[float, float] = {}
        self._ask_sizes: dict[float, float] = {}
        self._bid_keys: list[float] = []  # prices, ascending: the highest bid is last
        self._ask_keys: list[float] = []  # negated prices, ascending: the lowest ask is last
        self.trimmed_levels = 0

    def load(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace the book by these levels, in any order; levels of size 0 are left out."""
        self._bid_sizes = {price: size for price, size in bids if size}
        self._ask_sizes = {price: size for price, size in asks if size}
        self._bid_keys = sorted(self._bid_sizes)
        self._ask_keys = sorted(-price for price in self._ask_sizes)
        self._trim()

    def merge(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take over a newer snapshot of the best levels; keep what is known beyond them.

        Inside the snapshot's range its levels replace ours; farther from the best price than its
        last level it says nothing, and what changes have told us there still holds.
        """
        worst_bid = min((price for price, _ in bids), default=-inf)
        worst_ask = max((price for price, _ in asks), default=inf)
        far_bids = [level for level in self._bid_sizes.items() if level[0] < worst_bid]
        far_asks = [level for level in self._ask_sizes.items() if level[0] > worst_ask]
        self.load([*bids, *far_bids], [*asks, *far_asks])

    def clear(self) -> None:
        """Forget every level."""
        self.load((), ())

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Apply changes in the order given: size 0 removes, any other size replaces.

        Removing a level that is not there is fine: venues report levels beyond the snapshot.
        """
        sizes = self._bid_sizes
        keys = self._bid_keys
        for price, size in bids:
            if size:
                if price not in sizes:
                    keys.insert(bisect_left(keys, price), price)
                sizes[price] = size
            elif sizes.pop(price, None) is not None:
                del keys[bisect_left(keys, price)]
        sizes = self._ask_sizes
        keys = self._ask_keys
        for price, size in asks:
            if size:
                if price not in sizes:
                    keys.insert(bisect_left(keys, -price), -price)
                sizes[price] = size
            elif sizes.pop(price, None) is not None:
                del keys[bisect_left(keys, -price)]
        if len(self._bid_keys) > self._max_levels or len(keys) > self._max_levels:
            self._trim()

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The ``count`` best bids and asks, best first; fewer where a side holds fewer."""
        bid_sizes = self._bid_sizes
        ask_sizes = self._ask_sizes
        return (
            [(price, bid_sizes[price]) for price in self._bid_keys[: -count - 1 : -1]],
            [(-key, ask_sizes[-key]) for key in self._ask_keys[: -count - 1 : -1]],
        )

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Every known bid and ask, best first."""
        return self.top(self._max_levels)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None when there is none."""
        if not self._bid_keys:
            return None
        price = self._bid_keys[-1]
        return price, self._bid_sizes[price]

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None when there is none."""
        if not self._ask_keys:
            return None
        price = -self._ask_keys[-1]
        return price, self._ask_sizes[price]

    @property
    def crossed(self) -> bool:
        """True when the best bid is at or above the best ask: a book that must not be used."""
        return bool(self._bid_keys and self._ask_keys and self._bid_keys[-1] >= -self._ask_keys[-1])

    @property
    def bid_count(self) -> int:
        """Number of bid levels known."""
        return len(self._bid_keys)

    @property
    def ask_count(self) -> int:
        """Number of ask levels known."""
        return len(self._ask_keys)

    def _trim(self) -> None:
        for keys, sizes, sign in (
            (self._bid_keys, self._bid_sizes, 1.0),
            (self._ask_keys, self._ask_sizes, -1.0),
        ):
            if len(keys) <= self._max_levels:
                continue
            keep = max(1, self._max_levels - self._max_levels // 10)
            for key in keys[:-keep]:
                del sizes[key * sign]
            self.trimmed_levels += len(keys) - keep
            del keys[:-keep]
