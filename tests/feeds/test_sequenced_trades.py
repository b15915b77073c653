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
    words = trades.give_up(0, 9, "too old", 100)
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


def test_of_fetched_trades_the_missing_are_told_and_nothing_newer_than_the_stream() -> None:
    tap, trades = made()
    for number in (1, 4):
        trades.publish(*fill(number), 5)
    assert trades.gap.is_set()
    assert trades.publish_missing([fill(number) for number in range(8)], 6) == 2
    assert ids(tap) == [1, 4, 2, 3]
    assert [price.price for price in tap.bodies(PRICE)] == [1.0, 4.0]
    assert trades._counters.duplicates == 0


def test_trades_fetched_after_a_long_outage_are_late_and_no_new_count() -> None:
    tap, trades = made()
    hour_ns = 3_600_000_000_000
    trades.publish(1, 1.0, 1.0, "buy", 1_000, 5)
    trades.publish(4, 4.0, 1.0, "buy", hour_ns, 5)
    trades.publish_missing([fill(2), fill(3)], 6)
    assert ids(tap) == [1, 4, 2, 3]
    assert [price.price for price in tap.bodies(PRICE)] == [1.0, 4.0]


def test_a_recording_that_begins_again_is_told_again() -> None:
    tap, trades = made()
    second_ns = 1_000_000_000
    for number in (1, 100, 1, 2):
        trades.publish(number, 1.0, 1.0, "buy", number * second_ns, 5)
    assert ids(tap) == [1, 100, 1, 2]
    assert trades.losses().lost == 98
    trades.publish(1, 1.0, 1.0, "buy", second_ns, 5)  # a lagging connection's
    assert ids(tap) == [1, 100, 1, 2]


def test_trades_only_heard_of_are_late_and_no_new_count_when_they_are_had() -> None:
    tap, trades = made()
    second_ns = 1_000_000_000
    trades.publish(1, 1.0, 1.0, "buy", second_ns, 5)
    trades.sequence.exists(4)
    fills = [Fill(number, float(number), 1.0, "buy", 5 * second_ns) for number in (2, 3, 4)]
    assert trades.publish_missing(fills, 6) == 3
    for one in (*fills, Fill(5, 5.0, 1.0, "buy", 6 * second_ns)):  # the stream, far behind
        trades.publish(*one, 7)
    assert ids(tap) == [1, 2, 3, 4, 5]
    assert trades.losses().lost == 0
