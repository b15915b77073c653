"""One Kraken pair: what its events become."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from bus.config import FeedSettings
from bus.feeds.kraken.instrument_feed import InstrumentFeed
from bus.feeds.kraken.parser import BookLevel, BookRow, TickerEvent, TickerRow, TradeRow, parse
from bus.feeds.kraken.symbols import guess
from bus.feeds.listing import Listed
from bus.model import Depth, Quote, Trade
from tests.book.test_checksum import PAGE_ASKS, PAGE_BIDS, PAGE_CHECKSUM, PAGE_NEXT, decimals
from tests.feeds.kraken.test_parser import TICKER
from tests.feeds.tap import Statuses, Tap, make_feed

TIME = "2023-09-25T07:49:37.708706Z"
TOPIC = "md/{}/sim/MATIC-USD/"


def one(**settings: int) -> tuple[Tap, InstrumentFeed]:
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings(**settings), name="kraken")  # type: ignore[arg-type]
    pair = InstrumentFeed(feed, guess("MATIC-USD"), lambda: None)
    assert pair.describe(Listed("MATIC-USD", "MATIC/USD", True, 4, 8), 5)
    return tap, pair


def row(bids: str, asks: str, checksum: int | None, time: str | None = None) -> BookRow:
    sides = [
        [BookLevel(price, size) for price, size in decimals(text)] if text else []
        for text in (bids, asks)
    ]
    return BookRow("MATIC/USD", sides[0], sides[1], checksum, time)


def trade(trade_id: int, price: float = 0.5) -> TradeRow:
    return TradeRow("MATIC/USD", "sell", price, 40.0, trade_id, TIME)


def ticker() -> TickerRow:
    event = parse(TICKER)
    assert isinstance(event, TickerEvent)
    return event.data[0]


def test_the_published_sample_makes_a_checked_book() -> None:
    tap, pair = one(depth_limit=10, orderbook_levels=10)
    pair.book.start("book_sync")
    pair.on_book(row(PAGE_BIDS, PAGE_ASKS, PAGE_CHECKSUM), True, 5, 0)
    pair.on_book(row('[["0.5657","1098.3947558"]]', "", PAGE_NEXT, TIME), False, 6, 0)
    whole, update = tap.bodies(TOPIC.format("depth"))
    assert (whole.is_snapshot, whole.bids[0], len(whole.asks)) == (
        True,
        (0.5666, 4831.75496356),
        10,
    )
    assert update == Depth(2, 2, [(0.5657, 1098.3947558)], [], False)
    assert tap.messages[-1].venue_ts_ns == 1695628177_708706000
    assert pair.book.synced


def test_a_wrong_checksum_voids_the_book_until_the_next_snapshot() -> None:
    tap, pair = one(depth_limit=10, orderbook_levels=10)
    pair.book.start("book_sync")
    pair.on_book(row(PAGE_BIDS, PAGE_ASKS, PAGE_CHECKSUM), True, 5, 0)
    pair.on_book(row('[["0.5657","1"]]', "", PAGE_NEXT), False, 6, 0)
    pair.on_book(row('[["0.5657","1098.3947558"]]', "", PAGE_NEXT), False, 6, 0)
    assert len(tap.bodies(TOPIC.format("depth"))) == 1
    assert (pair.book.resubscribe, pair.book.lost_reason) == (True, "checksum")
    pair.on_book(row(PAGE_BIDS, PAGE_ASKS, PAGE_CHECKSUM), True, 5, 0)
    assert pair.book.synced
    assert pair.book.stats().checksum_failed == 1


def test_other_decimals_need_another_book_and_a_new_state_does_not() -> None:
    _, pair = one()
    assert not pair.describe(Listed("MATIC-USD", "MATIC/USD", False, 4, 8), 5)
    assert pair.facts.market_closed
    assert pair.describe(Listed("MATIC-USD", "MATIC/USD", True, 5, 8), 5)
    assert not pair.facts.market_closed


@pytest.mark.parametrize(
    ("limit", "levels", "depth"), [(10, 10, 10), (10, 20, 25), (1000, 20, 1000)]
)
def test_the_depth_is_enough_for_what_is_published(limit: int, levels: int, depth: int) -> None:
    _, pair = one(depth_limit=limit, orderbook_levels=levels)
    assert pair.depth == depth


def test_trades_by_id_and_late_ones_are_not_the_price() -> None:
    tap, pair = one()
    for trade_id, price in ((7, 0.5), (9, 0.6), (8, 0.55), (8, 0.55)):
        pair.on_trade(trade(trade_id, price), 5)
    assert tap.bodies(TOPIC.format("trades")) == [
        Trade(0.5, 40.0, "sell", 7),
        Trade(0.6, 40.0, "sell", 9),
        Trade(0.55, 40.0, "sell", 8),
    ]
    assert [price.price for price in tap.bodies(TOPIC.format("price"))] == [0.5, 0.6]
    assert pair.trades._counters.duplicates == 1


def test_the_last_trades_tell_what_was_missed_and_no_more() -> None:
    tap, pair = one()
    pair.on_past_trades([trade(6, 0.4), trade(7, 0.5)], 5)  # the first ever: of the past
    assert tap.bodies(TOPIC.format("trades")) == []
    pair.on_trade(trade(8, 0.6), 5)
    pair.on_past_trades([trade(10, 0.8), trade(9, 0.7), trade(8, 0.6), trade(7, 0.5)], 6)
    pair.on_trade(trade(11, 0.9), 7)
    assert [one.trade_id for one in tap.bodies(TOPIC.format("trades"))] == [8, 9, 10, 11]
    assert [one.price for one in tap.bodies(TOPIC.format("price"))] == [0.6, 0.7, 0.8, 0.9]
    assert pair.trades.sequence.missing == ()


def test_what_lies_before_the_last_trades_stays_missing() -> None:
    _, pair = one()
    pair.on_trade(trade(1, 0.5), 5)
    pair.on_past_trades([trade(60, 0.7), trade(61, 0.8)], 6)
    assert pair.trades.sequence.missing == ((2, 59),)


def test_a_ticker_is_a_quote_and_a_ticker() -> None:
    tap, pair = one()
    pair.on_ticker(ticker(), 5)
    assert tap.bodies(TOPIC.format("quote")) == [Quote(0.10025, 740.0, 0.10036, 1361.44813783)]
    (shown,) = tap.bodies(TOPIC.format("ticker"))
    assert (shown.open, shown.change, shown.change_percent) == (0.10052, -0.00017, -0.17)
    assert shown.quote_volume == pytest.approx(997038.98383185 * 0.10148)
    assert tap.bodies(TOPIC.format("price"))[0].price == 0.10035


def test_what_did_not_change_is_not_published_again() -> None:
    tap, pair = one()
    pair.on_ticker(ticker(), 5)
    pair.on_ticker(msgspec.structs.replace(ticker(), bid=0.10026), 6)
    pair.on_ticker(msgspec.structs.replace(ticker(), bid=0.10026, volume=1e6), 7)
    assert len(tap.bodies(TOPIC.format("quote"))) == 2
    assert len(tap.bodies(TOPIC.format("ticker"))) == 2


def test_a_pair_that_has_not_traded_has_a_quote_only() -> None:
    tap, pair = one()
    pair.on_ticker(TickerRow("MATIC/USD", bid=1.0, bid_qty=2.0, ask=0.0, ask_qty=0.0), 5)
    assert tap.bodies(TOPIC.format("quote")) == [Quote(1.0, 2.0, None, None)]
    assert tap.bodies(TOPIC.format("ticker")) == []


def test_a_number_with_too_many_decimals_voids_the_book() -> None:
    _, pair = one()
    pair.book.start("book_sync")
    level = BookLevel(Decimal("0.12345"), Decimal(1))
    pair.on_book(BookRow("MATIC/USD", [level], []), True, 5, 0)
    assert pair.book.lost_reason == "precision"
