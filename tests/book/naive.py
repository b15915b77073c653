"""A book nobody would use and anybody can check: decimals in a dict, sorted on demand."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal


class NaiveBook:
    """Levels keyed by exact decimals, straight from the venue's text."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}

    def apply(self, bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> None:
        """Absolute sizes, 0 removes."""
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, size in changes:
                if Decimal(size) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(size)

    def top(
        self, count: int
    ) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Best first."""
        return (
            sorted(self.bids.items(), reverse=True)[:count],
            sorted(self.asks.items())[:count],
        )
