"""From a venue's numbers to ticks on the bus: one object per instrument, its writers at hand.

What it knows: which streams a number belongs to, and how a price's 24-hour change follows from
the 24-hour open. What it must not know: any venue, any wire format.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, cast

from bus.client import Publisher
from bus.client.publisher import TopicWriter
from bus.config.venues import MARKET_STREAMS
from bus.model import Instrument, Price, Quote, Ticker, Trade
from bus.model.tick import Side
from bus.model.topic import Topic

CLOCK_SET_BACK_NS: Final = 300_000_000_000


class _Unserved:
    """In the place of a writer of a stream that the venue does not serve."""

    def __init__(self, stream: str) -> None:
        self._stream = stream

    def publish(self, *_ticks: object, **_times: object) -> int:
        raise AssertionError(f"this venue serves no {self._stream}, says bus.config.venues")


class SymbolTicks:
    """Publishes the ticks of one instrument, everything but its book and its status.

    Times are ns since 1970; ``venue_ts_ns`` None where the venue gives none. Not thread-safe.
    ``streams`` are those that the venue serves (:mod:`bus.config.venues`): a tick of another one is
    a fault of the venue's code, and an AssertionError.
    """

    __slots__ = (
        "_described",
        "_instrument",
        "_last_price",
        "_last_price_recv_ns",
        "_last_trade_ts_ns",
        "_open",
        "_price",
        "_quote",
        "_ticker",
        "_trades",
        "_volume",
    )

    def __init__(
        self,
        publisher: Publisher,
        venue_label: str,
        symbol: str,
        streams: Collection[str] = MARKET_STREAMS,
    ) -> None:
        def writer(stream: str) -> TopicWriter:
            if stream not in streams:
                return cast(TopicWriter, _Unserved(stream))
            return publisher.writer(Topic.md(stream, venue_label, symbol))

        self._price = writer("price")
        self._quote = writer("quote")
        self._ticker = writer("ticker")
        self._trades = writer("trades")
        self._instrument = publisher.writer(Topic.md("instrument", venue_label, symbol))
        self._described: Instrument | None = None
        self._open: float | None = None
        self._volume: float | None = None
        self._last_price: float | None = None
        self._last_trade_ts_ns = 0
        self._last_price_recv_ns = 0

    def instrument(self, described: Instrument, recv_ts_ns: int) -> bool:
        """What the venue says about the instrument: an `instrument` tick if it is news.

        The venue gives no time for it. Returns whether it was news.
        """
        if described == self._described:
            return False
        self._described = described
        self._instrument.publish(described, venue_ts_ns=None, recv_ts_ns=recv_ts_ns)
        return True

    def trade(
        self,
        price: float,
        size: float,
        aggressor_side: Side | None,
        trade_id: int | str | None,
        venue_ts_ns: int,
        recv_ts_ns: int,
    ) -> None:
        """One execution: a `trades` tick and a `price` tick."""
        self._trades.publish(
            Trade(price, size, aggressor_side, trade_id),
            venue_ts_ns=venue_ts_ns,
            recv_ts_ns=recv_ts_ns,
        )
        self.price(price, venue_ts_ns, recv_ts_ns)

    def price(self, price: float, venue_ts_ns: int, recv_ts_ns: int) -> None:
        """A new last price: a `price` tick with its change since the reference open.

        A price older than the one shown is not published: a venue may report trades late, or out
        of order. (Unless nothing newer has come for 5 minutes: its clock may have been set back.)

        ``change`` is rounded to 8 decimals, ``change_percent`` to 6: what lies beyond is noise of
        binary subtraction, not information.
        """
        is_older = venue_ts_ns < self._last_trade_ts_ns
        if is_older and recv_ts_ns - self._last_price_recv_ns < CLOCK_SET_BACK_NS:
            return
        self._last_price_recv_ns = recv_ts_ns
        reference = self._open
        change = percent = None
        if reference:
            change = round(price - reference, 8)
            percent = round((price - reference) / reference * 100.0, 6)
        self._last_price = price
        self._last_trade_ts_ns = venue_ts_ns
        self._price.publish(
            Price(price, change, percent, self._volume),
            venue_ts_ns=venue_ts_ns,
            recv_ts_ns=recv_ts_ns,
        )

    def quote(self, quote: Quote, venue_ts_ns: int | None, recv_ts_ns: int) -> None:
        """A new top of book."""
        self._quote.publish(quote, venue_ts_ns=venue_ts_ns, recv_ts_ns=recv_ts_ns)

    def reference(self, open_price: float | None, volume: float | None) -> None:
        """What `price` ticks are compared with from now on: 24 h open (or previous close)."""
        self._open = open_price
        self._volume = volume

    def ticker(
        self,
        ticker: Ticker,
        venue_ts_ns: int | None,
        recv_ts_ns: int,
        *,
        reference: float | None = None,
    ) -> None:
        """24-hour figures: a `ticker` tick, and a `price` tick with the new reference.

        ``reference``: what changes count from, where that is not the ticker's open. The price
        shown is the ticker's last, unless a trade newer than the ticker's window end has been
        published: a ticker is up to a second old, and prices must not step back.
        """
        self._ticker.publish(ticker, venue_ts_ns=venue_ts_ns, recv_ts_ns=recv_ts_ns)
        self.reference(ticker.open if reference is None else reference, ticker.volume)
        as_of_ns = ticker.close_ts_ns or venue_ts_ns or recv_ts_ns
        if self._last_price is None or self._last_trade_ts_ns < as_of_ns:
            self.price(ticker.last, as_of_ns, recv_ts_ns)
        else:
            self.price(self._last_price, self._last_trade_ts_ns, recv_ts_ns)
