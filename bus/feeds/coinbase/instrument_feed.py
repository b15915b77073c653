"""One Coinbase product: its events in, its ticks out. No socket, no loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bus.book import Level
from bus.book.snapshot_stream import WholeBook
from bus.feeds.coinbase.endpoints import BOOK, HEARTBEAT, TICKER, TRADES
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
from bus.feeds.status import SymbolFacts
from bus.feeds.stream_book import StreamBook
from bus.feeds.trade_sequence import Arrival, TradeSequence
from bus.model import Quote, Ticker, Trade
from bus.model.tick import Side
from bus.model.topic import Topic

AGGRESSOR: Final[dict[str, Side]] = {"buy": "sell", "sell": "buy"}
"""By the maker's side: a resting bid is hit by a seller."""


class InstrumentFeed:
    """The channels of one product, without repeats and without steps back in time.

    Trades are told by id. A trade that was missing and comes late, or is fetched by REST, is
    published on `trades` with its own time, after newer ones, and never on `price`.
    """

    def __init__(self, feed: Feed, instrument: Listed, on_book: Callable[[], None]) -> None:
        self.instrument = instrument
        self.facts = SymbolFacts(book_lost="starting", market_closed=not instrument.trading)
        self.ticks = SymbolTicks(feed.publisher, feed.venue_label, instrument.symbol)
        self.book: StreamBook[Level] = StreamBook(
            feed.publisher,
            feed.venue_label,
            instrument.symbol,
            feed.book_limits,
            WholeBook(feed.book_limits.book_max_levels),
            on_book,
        )
        self.trades = TradeSequence()
        product = instrument.venue_symbol
        self.streams = {name: f"{product}@{name}" for name in (TRADES, TICKER, BOOK, HEARTBEAT)}
        self._counters: Counters = feed.counters
        topic = Topic.md("trades", feed.venue_label, instrument.symbol)
        self._late = feed.publisher.writer(topic)
        self._ticker_sequence = -1

    def describe(self, instrument: Listed, recv_ns: int) -> None:
        """`instrument`: what the venue says about the product, where it has said so."""
        self.facts.market_closed = not instrument.trading
        if instrument.described is not None:
            self.ticks.instrument(instrument.described, recv_ns)

    def restart(self) -> None:
        """A new connection. Trade ids are remembered: what was missed meanwhile is missing."""
        self.trades.reconnected()
        self._ticker_sequence = -1
        self.facts.has_data = False
        self.facts.stale = ()

    def on_match(self, event: MatchEvent, recv_ns: int) -> None:
        """`trades` and `price`; the first message of the channel only tells where it stands."""
        if event.is_past:
            self.trades.exists(event.trade_id)
            return
        self._trade(event, time_ns(event.time, "match"), recv_ns)

    def on_fetched(self, item: RestTrade, recv_ns: int) -> None:
        """A trade fetched because it was missing."""
        self._trade(item, time_ns(item.time, "trades"), recv_ns)

    def on_heartbeat(self, event: HeartbeatEvent) -> None:
        """The venue's last trade id: what it named a second ago must have come."""
        self.trades.told(event.last_trade_id)

    def on_ticker(self, event: TickerEvent, recv_ns: int) -> None:
        """`quote`, `ticker`, and the reference of `price`, in the order of ``sequence``."""
        if event.sequence <= self._ticker_sequence:
            self._counters.duplicates += 1
            return
        venue_ts_ns = time_ns(event.time, "ticker") if event.time else None
        self._ticker_sequence = event.sequence
        bid_price, ask_price = event.best_bid or None, event.best_ask or None
        bid_size = event.best_bid_size if bid_price else None
        ask_size = event.best_ask_size if ask_price else None
        self.ticks.quote(
            Quote(bid_price, bid_size, ask_price, ask_size, event.sequence), venue_ts_ns, recv_ns
        )
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
        """`depth` (whole) and `orderbook`; the venue gives no time."""
        self.book.on_snapshot(event.bids, event.asks, None, None, recv_ns, now_mono_ns)

    def on_update(self, event: UpdateEvent, recv_ns: int) -> None:
        """`depth` and `orderbook`, changes in the order given."""
        venue_ts_ns = time_ns(event.time, "l2update") if event.time else None
        bids = [(price, size) for side, price, size in event.changes if side == "buy"]
        asks = [(price, size) for side, price, size in event.changes if side == "sell"]
        self.book.on_update(bids, asks, None, venue_ts_ns, recv_ns)

    def _trade(self, event: MatchEvent | RestTrade, venue_ts_ns: int, recv_ns: int) -> None:
        arrival = self.trades.on_trade(event.trade_id)
        side = AGGRESSOR[event.maker_side]
        if arrival is Arrival.NEW:
            self.ticks.trade(event.price, event.size, side, event.trade_id, venue_ts_ns, recv_ns)
        elif arrival is Arrival.LATE:
            self._late.publish(
                Trade(event.price, event.size, side, event.trade_id),
                venue_ts_ns=venue_ts_ns,
                recv_ts_ns=recv_ns,
            )
        else:
            self._counters.duplicates += 1
