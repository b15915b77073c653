"""One Kraken pair: its events in, its ticks out. No socket, no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bus.book.checksum import ChecksumBook, DecimalLevel
from bus.config import FeedSettings
from bus.feeds.feed import Feed
from bus.feeds.handler import SymbolTicks
from bus.feeds.kraken.endpoints import BOOK, TICKER, TRADES, book_depth
from bus.feeds.kraken.parser import BookRow, TickerRow, TradeRow, time_ns
from bus.feeds.kraken.trades import TradeWatch
from bus.feeds.listing import Listed
from bus.feeds.sequenced_trades import Fill, SequencedTrades
from bus.feeds.skew import DelayMeter
from bus.feeds.status import SymbolFacts
from bus.feeds.stream_book import StreamBook
from bus.model import Quote, Ticker
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

UNKNOWN_DECIMALS = 8
"""Decimals of a pair the venue has not described yet; its book is not subscribed to."""


class InstrumentFeed:
    """The channels of one pair, without repeats.

    ``quote`` is published when the best bid or ask changed, `ticker` when a 24-hour figure did:
    the venue sends both in one message at every change of either. Trades are told by id, which
    counts up by one in each book (see ``sequenced_trades``).
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
        self.depth = self.depth_of(feed.settings)
        self.facts = SymbolFacts(book_lost="starting", market_closed=not instrument.trading)
        self.ticks = SymbolTicks(feed.publisher, feed.venue_label, instrument.symbol, feed.streams)
        self.book: StreamBook[DecimalLevel] = StreamBook(
            feed.publisher,
            feed.venue_label,
            instrument.symbol,
            feed.book_limits,
            self._empty_book(instrument),
            on_book,
        )
        self.trades = SequencedTrades(feed, instrument.symbol, self.ticks)
        self.trade_watch = TradeWatch(feed.backoff)
        self.streams = {
            name: f"{instrument.venue_symbol}@{name}" for name in (TICKER, TRADES, BOOK)
        }
        self._quote: tuple[float | None, ...] = ()
        self._figures: tuple[float | None, ...] = ()

    @staticmethod
    def depth_of(settings: FeedSettings) -> int:
        """Levels a side of the books subscribed to: the least that is enough, of those offered."""
        return book_depth(max(settings.depth_limit, settings.orderbook_levels))

    def restart(self) -> None:
        """A new connection. Trade ids are remembered: what was missed meanwhile is missing."""
        self._quote = self._figures = ()

    def lost_lately(self, now_mono_ns: int) -> str:
        """What of its trades was lost within the last minute, or ""."""
        return self.trades.lost_lately(now_mono_ns)

    def describe(self, instrument: Listed, recv_ns: int) -> bool:
        """`instrument`: what the venue says of it; whether its book must be had anew for it."""
        if instrument.described is not None:
            self.ticks.instrument(instrument.described, recv_ns)
        decimals = (instrument.price_decimals, instrument.size_decimals)
        same = decimals == (self.instrument.price_decimals, self.instrument.size_decimals)
        self.instrument = instrument
        self.facts.market_closed = not instrument.trading
        if same or instrument.price_decimals is None or instrument.size_decimals is None:
            return False
        self.book.use(self._empty_book(instrument))
        return True

    def on_trade(self, row: TradeRow, recv_ns: int) -> None:
        """`trades` and `price`."""
        fill = _fill(row)
        self._delays.note(recv_ns - fill.venue_ts_ns)
        self.trades.publish(*fill, recv_ns)

    def on_past_trades(self, rows: Sequence[TradeRow], recv_ns: int) -> None:
        """The last trades, as the channel begins with them: those that were missed are told."""
        missed = self.trades.publish_past([_fill(row) for row in rows], recv_ns)
        if missed:
            _log.info("missed trades", symbol=self.instrument.symbol, count=missed)

    def on_ticker(self, row: TickerRow, recv_ns: int) -> None:
        """`quote`, `ticker`, and the reference of `price`."""
        venue_ts_ns = time_ns(row.timestamp, "ticker")
        if venue_ts_ns is not None:
            self._delays.note(recv_ns - venue_ts_ns)
        bid_price, ask_price = row.bid or None, row.ask or None  # 0 stands for an empty side
        bid_size = row.bid_qty if bid_price else None
        ask_size = row.ask_qty if ask_price else None
        quote = (bid_price, bid_size, ask_price, ask_size)
        if quote != self._quote:
            self._quote = quote
            self.ticks.quote(Quote(*quote), venue_ts_ns, recv_ns)
        figures = (row.last, row.volume, row.vwap, row.low, row.high, row.change, row.change_pct)
        if figures == self._figures or not row.last:
            return
        self._figures = figures
        opened = None if row.change is None else round(row.last - row.change, 8)
        volume = row.volume
        turnover = None if volume is None or row.vwap is None else round(volume * row.vwap, 8)
        ticker = Ticker(
            last=row.last,
            open=opened,
            high=row.high,
            low=row.low,
            change=row.change,
            change_percent=row.change_pct,
            volume=volume,
            quote_volume=turnover,
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
        )
        self.ticks.ticker(ticker, venue_ts_ns, recv_ns)

    def on_book(self, row: BookRow, is_snapshot: bool, recv_ns: int, now_mono_ns: int) -> None:
        """`depth` and `orderbook`, entries in the order given, checked."""
        venue_ts_ns = time_ns(row.timestamp, "book")
        bids = [(level.price, level.qty) for level in row.bids]
        asks = [(level.price, level.qty) for level in row.asks]
        if is_snapshot:
            self.book.on_snapshot(bids, asks, row.checksum, venue_ts_ns, recv_ns, now_mono_ns)
        else:
            if venue_ts_ns is not None:
                self._delays.note(recv_ns - venue_ts_ns)
            self.book.on_update(bids, asks, row.checksum, venue_ts_ns, recv_ns)

    def _empty_book(self, instrument: Listed) -> ChecksumBook:
        price, size = instrument.price_decimals, instrument.size_decimals
        return ChecksumBook(
            self.depth,
            UNKNOWN_DECIMALS if price is None else price,
            UNKNOWN_DECIMALS if size is None else size,
        )


def _fill(row: TradeRow) -> Fill:
    venue_ts_ns = time_ns(row.timestamp, "trade")
    assert venue_ts_ns is not None
    return Fill(row.trade_id, row.price, row.qty, row.side, venue_ts_ns)
