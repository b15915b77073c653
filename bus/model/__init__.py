"""Ticks as immutable values.

The order of the fields of each body **is** its wire order; fields are only ever appended. Unknown
is ``None``, never NaN. Prices and sizes are floats whose shortest text equals the venue's.
"""

from bus.model.streams import STREAMS, StreamKind, StreamSpec
from bus.model.tick import (
    Body,
    Depth,
    Instrument,
    Level,
    News,
    OrderBook,
    Price,
    Quote,
    Status,
    Tick,
    Ticker,
    Trade,
)
from bus.model.topic import Topic

__all__ = [
    "STREAMS",
    "Body",
    "Depth",
    "Instrument",
    "Level",
    "News",
    "OrderBook",
    "Price",
    "Quote",
    "Status",
    "StreamKind",
    "StreamSpec",
    "Tick",
    "Ticker",
    "Topic",
    "Trade",
]
