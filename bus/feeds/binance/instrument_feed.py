"""One Binance instrument: its events in, its ticks out. No socket, no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bus.feeds.binance.endpoints import DEPTH, QUOTE, STREAMS, TICKER, TRADE, stream_name
from bus.feeds.binance.parser import (
    BookTickerEvent,
    DepthEvent,
    RestTrade,
    TickerEvent,
    TradeEvent,
)
from bus.feeds.depth_book import DepthBook
from bus.feeds.feed import Counters, Feed
from bus.feeds.handler import SymbolTicks
from bus.feeds.handover import Order
from bus.feeds.listing import Listed
from bus.feeds.recent import RecentIds
from bus.feeds.sequenced_trades import Fill, SequencedTrades
from bus.feeds.skew import DelayMeter
from bus.feeds.status import SymbolFacts
from bus.model import Quote, Ticker
from bus.model.tick import Side

NS_PER_MS = 1_000_000


class InstrumentFeed:
    """The four streams of one instrument, without repeats and without steps back.

    While a connection is being replaced, two of them bring the same events; nothing here needs to
    know: trades are told by id, quotes and tickers by their position, diffs by theirs.
    """

    def __init__(
        self,
        feed: Feed,
        instrument: Listed,
        on_book: Callable[[], None],
        delays: DelayMeter | None = None,
    ) -> None:
        self._delays = delays or DelayMeter()
        self.instrument = instrument
        self.facts = SymbolFacts(book_lost="starting", market_closed=not instrument.trading)
        self.ticks = SymbolTicks(feed.publisher, feed.venue_label, instrument.symbol, feed.streams)
        self.book: DepthBook[DepthEvent] = DepthBook(
            feed.publisher, feed.venue_label, instrument.symbol, feed.book_limits, on_book
        )
        self._counters: Counters = feed.counters
        self.trades = SequencedTrades(feed, instrument.symbol, self.ticks)
        sequence = self.trades.sequence
        self._quote_id = -1
        self._ticker_times: RecentIds[int] = RecentIds(16)
        venue_symbol = instrument.venue_symbol
        self.streams = {kind: stream_name(venue_symbol, kind) for kind in STREAMS}
        """Each kind of stream to its name."""
        self.routes: Mapping[str, Callable[..., None]] = {
            self.streams[TRADE]: self.on_trade,
            self.streams[QUOTE]: self.on_quote,
            self.streams[TICKER]: self.on_ticker,
            self.streams[DEPTH]: self.on_depth,
        }
        """Stream name to the method that takes its events."""
        self.orders: list[tuple[str, Order | None]] = [
            (stream_name(venue_symbol, TRADE), Order(_trade_id, lambda: sequence.position)),
            (stream_name(venue_symbol, QUOTE), None),
            (stream_name(venue_symbol, TICKER), None),
            (stream_name(venue_symbol, DEPTH), Order(_first_id, self._book_id)),
        ]
        """How the events of each stream follow one another, for a handover."""

    def restart(self) -> None:
        """A new connection that replaces none: quotes and tickers seen before say nothing now.

        Trade ids are remembered: what was missed meanwhile is missing.
        """
        self.trades.sequence.reconnected()
        self._quote_id = -1
        self._ticker_times.clear()

    def describe(self, instrument: Listed, recv_ns: int) -> bool:
        """`instrument`: what the venue says of it, where it has said so. The book stays."""
        self.instrument = instrument
        self.facts.market_closed = not instrument.trading
        if instrument.described is not None:
            self.ticks.instrument(instrument.described, recv_ns)
        return False

    def lost_lately(self, now_mono_ns: int) -> str:
        """What of its trades was lost within the last minute, or ""."""
        return self.trades.lost_lately(now_mono_ns)

    def on_trade(self, event: TradeEvent, recv_ns: int) -> None:
        """`trades`, and `price` if it is the newest. Where the maker bought, the aggressor sold."""
        venue_ts_ns = event.trade_ms * NS_PER_MS
        side: Side = "sell" if event.buyer_is_maker else "buy"
        if self.trades.publish(event.trade_id, event.price, event.size, side, venue_ts_ns, recv_ns):
            self._delays.note(recv_ns - venue_ts_ns)

    def on_fetched(self, listed: Sequence[RestTrade], recv_ns: int) -> None:
        """The venue's list of its last trades: those that are missing are told."""
        fills = [
            Fill(
                item.trade_id,
                item.price,
                item.size,
                "sell" if item.buyer_is_maker else "buy",
                item.trade_ms * NS_PER_MS,
            )
            for item in listed
        ]
        self.trades.publish_missing(fills, recv_ns)

    def on_quote(self, event: BookTickerEvent, recv_ns: int) -> None:
        """`quote`, in the order of the venue's update ids; the venue gives no time."""
        if event.update_id <= self._quote_id:
            self._counters.duplicates += 1
            return
        self._quote_id = event.update_id
        if event.bid_price and event.ask_price:
            self.book.on_quote(event)
        self.ticks.quote(
            Quote(
                event.bid_price or None,  # 0 stands for an empty side
                event.bid_size if event.bid_price else None,
                event.ask_price or None,
                event.ask_size if event.ask_price else None,
                event.update_id,
            ),
            None,
            recv_ns,
        )

    def on_ticker(self, event: TickerEvent, recv_ns: int) -> None:
        """`ticker`, and the reference of `price`.

        It names the last trade, too: what the ticker before this one named must have come by now.
        A repeat is told by its time being equal, not by its being earlier: were the venue's clock
        set back, tickers would stay away until it has caught up.
        """
        if not self._ticker_times.is_new(event.event_ms):
            self._counters.duplicates += 1
            return
        if event.last_trade_id >= 0:
            self.trades.sequence.told(event.last_trade_id)
        ticker = Ticker(
            last=event.last,
            open=event.open,
            high=event.high,
            low=event.low,
            change=event.change,
            change_percent=event.change_percent,
            volume=event.volume,
            quote_volume=event.quote_volume,
            bid_price=event.bid_price or None,
            bid_size=event.bid_size if event.bid_price else None,
            ask_price=event.ask_price or None,
            ask_size=event.ask_size if event.ask_price else None,
            trade_count=event.trade_count,
            open_ts_ns=event.open_ms * NS_PER_MS,
            close_ts_ns=event.close_ms * NS_PER_MS,
        )
        self.ticks.ticker(ticker, event.event_ms * NS_PER_MS, recv_ns)

    def on_depth(self, event: DepthEvent, recv_ns: int) -> None:
        """`depth` and `orderbook`, or one more diff that waits for its snapshot."""
        event.recv_ns = recv_ns
        self._delays.note(recv_ns - event.venue_ts_ns)
        if not self.book.on_diff(event):
            self._counters.duplicates += 1

    def _book_id(self) -> int | None:
        return self.book.last_id if self.book.synced else None


def _trade_id(event: TradeEvent) -> int:
    return event.trade_id


def _first_id(event: DepthEvent) -> int:
    return event.first_id
