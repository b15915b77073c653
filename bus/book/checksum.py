"""A book of the best N levels a side, checked by the venue's CRC-32 after every change (Kraken).

The venue's rules (docs.kraken.com, websocket-v2: book; guides: spot-ws-book-v2):

1. A snapshot replaces the book. 2. Updates are applied entry by entry, in the order given: a price
may occur more than once; quantity 0 removes, any other is the new absolute one. 3. Then each side
is cut to the depth subscribed to: nothing is sent for levels that fall out. 4. Then the CRC-32 of
the ten best levels a side, whatever the depth, must be the one in the message:

    for each ask, lowest price first, then for each bid, highest price first:
        the price with exactly ``price_precision`` decimals, then the quantity with exactly
        ``qty_precision``, both without the point and without leading zeros; all joined.

A decimal with n places, without its point and its leading zeros, is the number times 10**n as an
integer: so the book is kept in scaled integers and needs no formatting. Precisions are told on the
``instrument`` channel. Pure.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from bus.book.order_book import Level
from bus.book.snapshot_stream import Change

CHECKED_LEVELS: Final = 10
MAX_PRECISION: Final = 18
MAX_MAGNITUDE: Final = 30
"""Numbers of 1e30 and more, or with so many decimals, are nobody's price."""

DecimalLevel = tuple[Decimal, Decimal]
"""(price, size), exactly as the venue wrote them."""


class NotScalable(ValueError):
    """A number has more decimals than its instrument, or is out of any range."""

    def __init__(self, value: Decimal, precision: int) -> None:
        self.value = value
        self.precision = precision
        super().__init__(f"{str(value)[:40]} is no number of {precision} decimals")


def scaled(value: Decimal, precision: int) -> int:
    """``value`` times ``10**precision``, exactly. Raises :class:`NotScalable`."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or sign or abs(exponent) > MAX_MAGNITUDE:
        raise NotScalable(value, precision)
    if len(digits) + exponent > MAX_MAGNITUDE:
        raise NotScalable(value, precision)
    whole = value.scaleb(precision)
    number = int(whole)
    if number != whole:
        raise NotScalable(value, precision)
    return number


def crc32(asks: Iterable[tuple[int, int]], bids: Iterable[tuple[int, int]]) -> int:
    """The checksum of scaled levels, best first, at most ten a side."""
    text = "".join([f"{price}{size}" for side in (asks, bids) for price, size in side])
    return zlib.crc32(text.encode("ascii"))


class _Side:
    """One side: sizes by price, prices in order with the **best last** (see ``order_book``)."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int) -> None:
        self._sign = sign  # -1 for asks, whose best price is the lowest
        self._sizes: dict[int, int] = {}
        self._keys: list[int] = []

    def clear(self) -> None:
        self._sizes = {}
        self._keys = []

    def set(self, price: int, size: int) -> None:
        key = price * self._sign
        if size:
            if price not in self._sizes:
                self._keys.insert(bisect_left(self._keys, key), key)
            self._sizes[price] = size
        elif self._sizes.pop(price, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def cut(self, depth: int) -> list[int]:
        """Forget what lies beyond the ``depth`` best; the prices forgotten."""
        beyond = len(self._keys) - depth
        if beyond <= 0:
            return []
        prices = [key * self._sign for key in self._keys[:beyond]]
        del self._keys[:beyond]
        for price in prices:
            del self._sizes[price]
        return prices

    def top(self, count: int) -> list[tuple[int, int]]:
        return [
            (key * self._sign, self._sizes[key * self._sign])
            for key in self._keys[: -count - 1 : -1]
        ]

    @property
    def best(self) -> int | None:
        return self._keys[-1] * self._sign if self._keys else None


class ChecksumBook:
    """One symbol's book. ``depth``: levels a side subscribed to; precisions: decimals.

    A fault of ``checksum`` means that the book is not the venue's, ``crossed`` that it cannot be
    anybody's, ``precision`` that a number does not fit the instrument's decimals: in every case
    the caller subscribes again.
    """

    __slots__ = ("_asks", "_bids", "_depth", "_price_precision", "_size_precision", "checked")

    trimmed_levels: Final = 0
    """Only the venue's own rule cuts this book."""

    def __init__(self, depth: int, price_precision: int, size_precision: int) -> None:
        for name, precision in (("price", price_precision), ("size", size_precision)):
            if not 0 <= precision <= MAX_PRECISION:
                raise ValueError(f"{name}_precision must be 0 to {MAX_PRECISION}, not {precision}")
        if depth < CHECKED_LEVELS:
            raise ValueError(f"depth must be at least {CHECKED_LEVELS}, not {depth}")
        self._depth = depth
        self._price_precision = price_precision
        self._size_precision = size_precision
        self._bids = _Side(1)
        self._asks = _Side(-1)
        self.checked = 0

    def load(
        self,
        bids: Sequence[DecimalLevel],
        asks: Sequence[DecimalLevel],
        checksum: int | None,
    ) -> Change:
        """Replace every level (rule 1), then check."""
        self._bids.clear()
        self._asks.clear()
        return self.apply(bids, asks, checksum)

    def apply(
        self,
        bids: Sequence[DecimalLevel],
        asks: Sequence[DecimalLevel],
        checksum: int | None,
    ) -> Change:
        """Rules 2 to 4; levels that fell out are told as removed. No checksum, no check."""
        try:
            changed_bids = self._apply(self._bids, bids)
            changed_asks = self._apply(self._asks, asks)
        except NotScalable:
            return Change((), (), "precision")
        changed_bids += [self._level(price, 0) for price in self._bids.cut(self._depth)]
        changed_asks += [self._level(price, 0) for price in self._asks.cut(self._depth)]
        fault = ""
        if checksum is not None:
            self.checked += 1
            if self.checksum() != checksum:
                fault = "checksum"
        if not fault and self.crossed:
            fault = "crossed"
        return Change(changed_bids, changed_asks, fault)

    def checksum(self) -> int:
        """The CRC-32 of the book as it is."""
        return crc32(self._asks.top(CHECKED_LEVELS), self._bids.top(CHECKED_LEVELS))

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The ``count`` best bids and asks, best first."""
        return (
            [self._level(price, size) for price, size in self._bids.top(count)],
            [self._level(price, size) for price, size in self._asks.top(count)],
        )

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Every level, best first."""
        return self.top(self._depth)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bid, ask = self._bids.best, self._asks.best
        return bid is not None and ask is not None and bid >= ask

    def _apply(self, side: _Side, levels: Sequence[DecimalLevel]) -> list[Level]:
        changed = []
        for price, size in levels:
            scaled_price = scaled(price, self._price_precision)
            scaled_size = scaled(size, self._size_precision)
            side.set(scaled_price, scaled_size)
            changed.append(self._level(scaled_price, scaled_size))
        return changed

    def _level(self, price: int, size: int) -> Level:
        # Division of integers is correctly rounded: the float nearest to the decimal.
        return price / 10**self._price_precision, size / 10**self._size_precision
