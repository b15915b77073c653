"""What is remembered of a pair: trades that stay missing are lost."""

from __future__ import annotations

from bus.config import FeedSettings
from bus.feeds.backoff import Backoff
from bus.feeds.kraken.instrument_feed import InstrumentFeed
from bus.feeds.kraken.pair_state import LATE_TRADES_NS, LOSS_SHOWN_NS, PairState
from bus.feeds.kraken.symbols import guess
from bus.feeds.listing import Listed
from tests.feeds.tap import Statuses, Tap, make_feed

S = 1_000_000_000


def pair() -> PairState:
    feed = make_feed(Tap(), Statuses(), FeedSettings(), name="kraken")
    return PairState(InstrumentFeed(feed, guess("BTC-USD"), lambda: None), Backoff())


def test_a_pair_is_served_once_the_venue_has_described_it() -> None:
    one = pair()
    served = [one.served]
    one.feed.describe(Listed("BTC-USD", "BTC/USD", True, 1, 8), 5)
    served.append(one.served)
    one.feed.facts.rejected = "no such pair"
    served.append(one.served)
    assert served == [False, True, False]


def test_missing_trades_are_lost_after_a_while_and_shown_for_a_minute() -> None:
    one = pair()
    one.feed.trades.on_trade(1)
    one.feed.trades.on_trade(4)
    one.look_for_trades(10 * S)
    one.look_for_trades(10 * S + LATE_TRADES_NS - 1)
    assert one.lost_lately(11 * S) == ""
    lost_ns = 10 * S + LATE_TRADES_NS
    one.look_for_trades(lost_ns)
    assert one.lost_lately(lost_ns) == "2 trades lost, ids 2 to 3"
    assert one.lost_lately(lost_ns + LOSS_SHOWN_NS) == ""
    assert one.feed.trades.losses().lost == 2


def test_trades_that_come_late_are_not_lost() -> None:
    one = pair()
    one.feed.trades.on_trade(1)
    one.feed.trades.on_trade(3)
    one.look_for_trades(10 * S)
    one.feed.trades.on_trade(2)
    one.look_for_trades(20 * S)
    assert one.feed.trades.losses().lost == 0
