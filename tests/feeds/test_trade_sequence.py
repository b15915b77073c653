"""Lost trades: found, repaired, given up; against a model that keeps every id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.trade_sequence import (
    MAX_RANGES,
    Arrival,
    TradeLosses,
    TradeSequence,
    trade_figures,
)


def missing(trades: TradeSequence) -> list[tuple[int, int]]:
    return list(trades.missing)


NEW, LATE, REPEAT = Arrival.NEW, Arrival.LATE, Arrival.REPEAT


def test_trades_in_order_are_new() -> None:
    trades = TradeSequence()
    assert [trades.on_trade(trade_id) for trade_id in (7, 8, 9)] == [NEW] * 3
    assert missing(trades) == []


def test_a_jump_is_a_gap_and_late_trades_close_it() -> None:
    trades = TradeSequence()
    assert [trades.on_trade(trade_id) for trade_id in (7, 12, 9)] == [NEW, NEW, LATE]
    assert missing(trades) == [(8, 8), (10, 11)]
    assert [trades.on_trade(trade_id) for trade_id in (8, 11, 10, 10, 7)] == [LATE] * 3 + [
        REPEAT
    ] * 2
    assert trades.losses() == TradeLosses(gaps=1, repaired=4, lost=0, skipped=0)


def test_a_past_trade_that_was_not_seen_is_missing_itself() -> None:
    trades = TradeSequence()
    trades.exists(7)
    assert missing(trades) == []
    trades.exists(9)
    assert missing(trades) == [(8, 9)]
    assert trades.on_trade(10) is NEW


def test_the_venues_word_is_evidence_only_the_second_time() -> None:
    trades = TradeSequence()
    trades.on_trade(7)
    trades.told(9)
    assert missing(trades) == []
    trades.on_trade(8)
    trades.told(12)
    assert missing(trades) == [(9, 9)]
    trades.told(12)
    assert missing(trades) == [(9, 9), (10, 12)]


def test_a_word_from_before_a_reconnection_is_no_evidence() -> None:
    trades = TradeSequence()
    trades.on_trade(7)
    trades.told(9)
    trades.reconnected()
    trades.told(9)
    assert missing(trades) == []


def test_a_product_that_has_not_traded_yet_begins_with_the_venues_word() -> None:
    trades = TradeSequence()
    trades.told(5)
    trades.told(6)
    assert missing(trades) == []
    trades.told(6)
    assert missing(trades) == [(6, 6)]


def test_what_cannot_be_had_is_lost_and_what_does_not_exist_is_skipped() -> None:
    trades = TradeSequence()
    trades.on_trade(1)
    trades.on_trade(10)
    assert trades.skip(2, 3) == 2
    assert trades.give_up(1, 5) == 2
    assert missing(trades) == [(6, 9)]
    assert trades.losses() == TradeLosses(gaps=1, repaired=0, lost=2, skipped=2)


def test_ranges_are_bounded_and_the_oldest_is_counted_as_lost() -> None:
    trades = TradeSequence()
    for number in range(MAX_RANGES + 2):
        trades.on_trade(1 + 2 * number)
    assert len(trades.missing) == MAX_RANGES
    assert trades.missing[0] == (4, 4)
    assert trades.losses().lost == 1


@given(st.lists(st.integers(1, 60), max_size=60))
def test_whatever_comes_every_id_is_published_once(ids: list[int]) -> None:
    trades = TradeSequence()
    seen: set[int] = set()
    for trade_id in ids:
        arrival = trades.on_trade(trade_id)
        below_the_first = bool(seen) and trade_id < ids[0]
        assert (arrival is REPEAT) == (trade_id in seen or below_the_first)
        assert (arrival is NEW) == (not seen or trade_id > max(seen))
        if arrival is not REPEAT:
            seen.add(trade_id)
    gone = {one for low, high in trades.missing for one in range(low, high + 1)}
    expected = set(range(ids[0], max(seen) + 1)) - seen if seen else set()
    assert gone == expected


def test_each_gap_is_told() -> None:
    gaps: list[int] = []
    trades = TradeSequence(lambda: gaps.append(1))
    for trade_id in (1, 2, 4, 3, 5):
        trades.on_trade(trade_id)
    trades.exists(6)
    assert len(gaps) == 2


def test_the_position_is_that_of_the_stream_not_of_what_was_heard_of() -> None:
    trades = TradeSequence()
    assert trades.position == 0
    trades.on_trade(5)
    trades.on_trade(8)
    assert trades.position == 8
    trades.exists(10)
    assert trades.position == 8
    trades.on_trade(11)
    assert trades.position == 11


def test_a_count_that_begins_again_leaves_nothing_missing() -> None:
    trades = TradeSequence()
    for trade_id in (5, 8, 12):
        trades.on_trade(trade_id)
    trades.told(20)
    trades.begin_again(2)
    assert (trades.last_id, missing(trades)) == (2, [])
    assert trades.on_trade(3) is NEW
    assert trades.losses() == TradeLosses(gaps=2, repaired=0, lost=5, skipped=0)
    trades.told(4)
    assert missing(trades) == []


def test_the_figures_of_several_symbols_are_added_up() -> None:
    figures = trade_figures([TradeLosses(1, 2, 3, 4), TradeLosses(10, 20, 30, 40)])
    assert figures == {
        "trade_gaps": 11,
        "trades_repaired": 22,
        "trades_lost": 33,
        "trade_ids_skipped": 44,
    }
