"""One Finnhub instrument: its prices and quotes in, its ticks out. No socket, no loop."""

from __future__ import annotations

from bus.feeds.feed import Feed
from bus.feeds.finnhub.parser import Quote, TradeItem
from bus.feeds.finnhub.symbols import Instrument
from bus.feeds.handler import SymbolTicks
from bus.feeds.status import SymbolFacts
from bus.model import Ticker

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class InstrumentFeed:
    """Publishes `trades` and `price`, and `ticker` where the REST quote is available.

    The venue gives no trade ids and no aggressor; two equal trades at one millisecond are two
    trades.
    """

    def __init__(self, feed: Feed, instrument: Instrument) -> None:
        self.instrument = instrument
        self.facts = SymbolFacts()
        self.ticks = SymbolTicks(feed.publisher, feed.venue_label, instrument.symbol)

    def on_trade(self, item: TradeItem, recv_ns: int) -> None:
        """A trade, or with size 0 a price update that must not pass for one."""
        venue_ts_ns = item.trade_ms * NS_PER_MS
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
