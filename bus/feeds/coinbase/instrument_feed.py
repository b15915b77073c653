"""One Coinbase product: its events in, its ticks out. No socket, no loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bus.book import Level
from bus.book.snapshot_stream import WholeBook
from bus.feeds.coinbase.endpoints import CHANNELS
from bus.feeds.coinbase.parser import (
    HeartbeatEvent,
    MatchEvent,
    RestTrade,
    SnapshotEvent,
    TickerEvent,
    UpdateEvent,
    time_ns,
)
from bus.feeds.feed import Counters, Feed
from bus.feeds.handler import SymbolTicks
from bus.feeds.listing import Listed
from bus.feeds.sequenced_trades import SequencedTrades
from bus.feeds.skew import DelayMeter
from bus.feeds.status import SymbolFacts
from bus.feeds.stream_book import StreamBook
from bus.model import Ticker
from bus.model.tick import Side

AGGRESSOR: Final[dict[str, Side]] = {"buy": "sell", "sell": "buy"}
"""By the maker's side: a resting bid is hit by a seller."""


class InstrumentFeed:
    """The channels of one product, without repeats and without steps back in time.

    Trades are told by id (see ``sequenced_trades``). `quote` is the top of the book whenever that
    changes: the venue's ``ticker`` tells the best prices too, but only after a match, and a quote
    in between would be old news. The two cannot be audited against each other: the ticker's place
    is one in the product's full feed, the book comes in batches that have none.
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
        self.book: StreamBook[Level] = StreamBook(
            feed.publisher,
            feed.venue_label,
            instrument.symbol,
            feed.book_limits,
            WholeBook(feed.book_limits.book_max_levels),
            on_book,
            self.ticks.quote,
        )
        self.trades = SequencedTrades(feed, instrument.symbol, self.ticks)
        product = instrument.venue_symbol
        self.streams = {name: f"{product}@{name}" for name in CHANNELS}
        self._counters: Counters = feed.counters
        self._ticker_sequence = -1

    def describe(self, instrument: Listed, recv_ns: int) -> bool:
        """`instrument`: what the venue says about the product, where it has said so."""
        self.instrument = instrument
        self.facts.market_closed = not instrument.trading
        if instrument.described is not None:
            self.ticks.instrument(instrument.described, recv_ns)
        return False

    def lost_lately(self, now_mono_ns: int) -> str:
        """What of its trades was lost within the last minute, or ""."""
        return self.trades.lost_lately(now_mono_ns)

    def restart(self) -> None:
        """A new connection. Trade ids are remembered: what was missed meanwhile is missing."""
        self.trades.sequence.reconnected()
        self._ticker_sequence = -1

    def on_match(self, event: MatchEvent, recv_ns: int) -> None:
        """`trades` and `price`; the first message of the channel only tells where it stands."""
        if event.is_past:
            self.trades.sequence.exists(event.trade_id)
            return
        venue_ts_ns = time_ns(event.time, "match")
        self._delays.note(recv_ns - venue_ts_ns)
        self._trade(event, venue_ts_ns, recv_ns)

    def on_fetched(self, item: RestTrade, recv_ns: int) -> None:
        """A trade fetched because it was missing."""
        if self.trades.sequence.lacks(item.trade_id):  # or it has come late meanwhile
            self._trade(item, time_ns(item.time, "trades"), recv_ns)

    def on_heartbeat(self, event: HeartbeatEvent, recv_ns: int) -> None:
        """The venue's last trade id: what it named a second ago must have come."""
        self._delays.note(recv_ns - time_ns(event.time, "heartbeat"))
        self.trades.sequence.told(event.last_trade_id)

    def on_ticker(self, event: TickerEvent, recv_ns: int) -> None:
        """`ticker`, and the reference of `price`, in the order of ``sequence``."""
        if event.sequence <= self._ticker_sequence:
            self._counters.duplicates += 1
            return
        venue_ts_ns = time_ns(event.time, "ticker") if event.time else None
        self._ticker_sequence = event.sequence
        bid_price, ask_price = event.best_bid or None, event.best_ask or None
        bid_size = event.best_bid_size if bid_price else None
        ask_size = event.best_ask_size if ask_price else None
        change = percent = None
        if event.open_24h:
            change = round(event.price - event.open_24h, 8)
            percent = round((event.price - event.open_24h) / event.open_24h * 100.0, 6)
        ticker = Ticker(
            last=event.price,
            open=event.open_24h,
            high=event.high_24h,
            low=event.low_24h,
            change=change,
            change_percent=percent,
            volume=event.volume_24h,
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
        )
        self.ticks.ticker(ticker, venue_ts_ns, recv_ns)

    def on_snapshot(self, event: SnapshotEvent, recv_ns: int, now_mono_ns: int) -> None:
        """`depth` (whole), `orderbook` and `quote`; the venue gives no time."""
        self.book.on_snapshot(event.bids, event.asks, None, None, recv_ns, now_mono_ns)

    def on_update(self, event: UpdateEvent, recv_ns: int) -> None:
        """`depth`, `orderbook` and `quote`, changes in the order given."""
        venue_ts_ns = None
        if event.time:
            venue_ts_ns = time_ns(event.time, "l2update")
            self._delays.note(recv_ns - venue_ts_ns)
        bids = [(price, size) for side, price, size in event.changes if side == "buy"]
        asks = [(price, size) for side, price, size in event.changes if side == "sell"]
        self.book.on_update(bids, asks, None, venue_ts_ns, recv_ns)

    def _trade(self, event: MatchEvent | RestTrade, venue_ts_ns: int, recv_ns: int) -> None:
        side = AGGRESSOR[event.maker_side]
        self.trades.publish(event.trade_id, event.price, event.size, side, venue_ts_ns, recv_ns)
