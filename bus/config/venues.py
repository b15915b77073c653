"""What each venue serves of an instrument: feeds publish this, and clients are refused the rest."""

from __future__ import annotations

from typing import Final

MARKET_STREAMS: Final = ("price", "quote", "orderbook", "trades", "ticker")
"""Streams of an instrument, as clients name them."""

CLIENT_STREAMS: Final = (*MARKET_STREAMS, "news")
"""Streams a client can subscribe to. ``news`` takes a category where the others take a symbol."""

_LESS: Final = {"finnhub": ("price", "trades", "ticker")}
"""Of venues that do not serve all of them."""


def streams_of(venue: str) -> tuple[str, ...]:
    """The streams a venue has of each instrument, in the order of :data:`MARKET_STREAMS`."""
    return _LESS.get(venue, MARKET_STREAMS)
