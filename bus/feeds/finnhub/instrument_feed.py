"""One Finnhub instrument: its prices and quotes in, its ticks out. No socket, no loop."""

from __future__ import annotations

import msgspec

from bus.feeds.feed import Feed
from bus.feeds.finnhub.parser import ListedSymbol, Quote, TradeItem
from bus.feeds.finnhub.symbols import Instrument
from bus.feeds.handler import SymbolTicks
from bus.feeds.skew import DelayMeter
from bus.feeds.status import SymbolFacts
from bus.model import Instrument as Description
from bus.model import Ticker

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class InstrumentFeed:
    """Publishes `trades` and `price`, and `ticker` where the REST quote is available.

    The venue gives no trade ids and no aggressor; two equal trades at one millisecond are two
    trades. Inside a frame its trades may be out of order: they are published as received, each
    with its own time, and `price` follows the newest of them.
    """

    def __init__(
        self, feed: Feed, instrument: Instrument, delays: DelayMeter | None = None
    ) -> None:
        self.instrument = instrument
        self._delays = delays or DelayMeter()
        self._described: Description | None = None
        self.market: str | None = None
        self.facts = SymbolFacts()
        self.ticks = SymbolTicks(feed.publisher, feed.venue_label, instrument.symbol, feed.streams)

    def describe(self, listed: ListedSymbol | None, recv_ns: int) -> None:
        """What is known of the instrument, once it has been looked up; then its market's state.

        ``listed`` None: only the state may have changed. The venue tells no tick or lot sizes.
        """
        stock = self.instrument.stock
        if listed is not None:
            base, _, quote = listed.display_symbol.partition("/")
            self._described = Description(
                base=listed.symbol if stock else base or None,
                quote=(listed.currency if stock else quote) or None,
                kind="stock" if stock else "spot",
                venue_symbol=listed.symbol,
            )
        if self._described is not None:
            described = msgspec.structs.replace(self._described, status=self.market)
            self.ticks.instrument(described, recv_ns)

    def on_trade(self, item: TradeItem, recv_ns: int) -> None:
        """A trade, or with size 0 a price update that must not pass for one."""
        venue_ts_ns = item.trade_ms * NS_PER_MS
        self._delays.note(recv_ns - venue_ts_ns)
        if item.size:
            self.ticks.trade(item.price, item.size, None, None, venue_ts_ns, recv_ns)
        else:
            self.ticks.price(item.price, venue_ts_ns, recv_ns)

    def on_rest_quote(self, quote: Quote, recv_ns: int) -> None:
        """The day's figures; changes of `price` count from the previous close.

        A quote of all zeros is how the venue says that it does not know the symbol.
        """
        if not quote.c:
            return
        as_of_ns = quote.t * NS_PER_S if quote.t else None
        ticker = Ticker(
            last=quote.c,
            open=quote.o or None,
            high=quote.h or None,
            low=quote.l or None,
            change=quote.d,
            change_percent=quote.dp,
            close_ts_ns=as_of_ns,
        )
        self.ticks.ticker(ticker, as_of_ns, recv_ns, reference=quote.pc or None)
