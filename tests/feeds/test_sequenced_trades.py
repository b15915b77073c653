"""Each trade once, missed ones told late, the last price never set back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.config import FeedSettings
from bus.feeds.handler import SymbolTicks
from bus.feeds.sequenced_trades import LOSS_SHOWN_NS, Fill, SequencedTrades
from tests.feeds.tap import Statuses, Tap, make_feed

TRADES, PRICE = "md/trades/sim/BTC-USD/", "md/price/sim/BTC-USD/"


def made() -> tuple[Tap, SequencedTrades]:
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings())
    ticks = SymbolTicks(feed.publisher, feed.venue_label, "BTC-USD")
    return tap, SequencedTrades(feed, "BTC-USD", ticks)


def fill(trade_id: int) -> Fill:
    return Fill(trade_id, float(trade_id), 1.0, "buy", trade_id * 1_000)


def ids(tap: Tap) -> list[int]:
    return [trade.trade_id for trade in tap.bodies(TRADES)]


def test_a_late_one_is_told_and_is_not_the_price_and_a_repeat_is_counted() -> None:
    tap, trades = made()
    assert [trades.publish(*fill(number), 5) for number in (7, 9, 8, 8)] == [True] * 3 + [False]
    assert ids(tap) == [7, 9, 8]
    assert [price.price for price in tap.bodies(PRICE)] == [7.0, 9.0]
    assert trades._counters.duplicates == 1


def test_what_had_happened_before_the_beginning_is_not_told() -> None:
    tap, trades = made()
    assert trades.publish_past([fill(5), fill(4)], 5) == 0
    trades.publish(*fill(6), 5)
    assert ids(tap) == [6]
    assert trades.sequence.missing == ()


def test_of_the_last_trades_only_the_missed_ones_are_told_in_order() -> None:
    tap, trades = made()
    for number in (1, 2, 5):
        trades.publish(*fill(number), 5)
    assert trades.publish_past([fill(number) for number in (7, 2, 6, 5, 4, 3)], 6) == 4
    assert ids(tap) == [1, 2, 5, 3, 4, 6, 7]
    assert [price.price for price in tap.bodies(PRICE)] == [1.0, 2.0, 5.0, 6.0, 7.0]
    assert trades.losses().repaired == 2
    assert trades._counters.duplicates == 0, "what was known is not a repeat to be worried about"


def test_an_id_left_out_between_others_is_no_trade() -> None:
    _, trades = made()
    trades.publish(*fill(1), 5)
    trades.publish_past([fill(2), fill(4)], 6)
    assert trades.sequence.missing == ()
    assert trades.losses().skipped == 1


def test_an_empty_list_says_nothing() -> None:
    _, trades = made()
    assert trades.publish_past([], 5) == 0
    assert not trades.sequence.begun


def test_a_loss_is_shown_for_a_minute() -> None:
    _, trades = made()
    trades.publish(*fill(1), 5)
    trades.publish(*fill(4), 5)
    words = trades.give_up(2, 3, "too old", 100)
    assert words == "2 trades lost, ids 2 to 3: too old"
    assert trades.lost_lately(100 + LOSS_SHOWN_NS - 1) == words
    assert trades.lost_lately(100 + LOSS_SHOWN_NS) == ""
    assert trades.give_up(2, 3, "again", 200) == "", "nothing is missing any more"


@given(st.lists(st.integers(1, 30), max_size=60), st.sets(st.integers(1, 30), max_size=20))
def test_no_trade_is_ever_told_twice(arrivals: list[int], past: set[int]) -> None:
    tap, trades = made()
    for number in arrivals:
        trades.publish(*fill(number), 5)
    trades.publish_past([fill(number) for number in past], 6)
    assert len(ids(tap)) == len(set(ids(tap)))
    prices = [price.price for price in tap.bodies(PRICE)]
    assert prices == sorted(prices)
