"""The seeded market: what must hold whatever the seed and however time is cut into steps."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.simulator.instruments import E8, crypto_instrument
from bus.simulator.market import (
    FAST_DIFF,
    MAX_CATCH_UP_NS,
    AggregateTrade,
    MarketEvent,
    Quote,
    SymbolMarket,
    Trade,
)

START_NS = 1_723_161_253_000_000_000
MS = 1_000_000
seeds = st.integers(0, 2**32)
step_lists = st.lists(st.integers(1 * MS, 250 * MS), min_size=5, max_size=60)
symbols = st.sampled_from(["BTCUSDT", "SOLUSDT", "XRPUSDT", "MADEUPUSDT"])


def market(symbol: str = "BTCUSDT", seed: int = 1, **options: float) -> SymbolMarket:
    return SymbolMarket(
        crypto_instrument(symbol),
        seed,
        START_NS,
        levels=int(options.get("levels", 80)),
        activity=options.get("activity", 4.0),
    )


def run(simulated: SymbolMarket, steps: Iterable[int]) -> list[list[MarketEvent]]:
    now_ns = simulated.now_ns
    batches = []
    for step_ns in steps:
        now_ns += step_ns
        batches.append(simulated.step(now_ns))
    return batches


@given(seeds, symbols, step_lists)
@settings(max_examples=12)
def test_the_same_seed_and_steps_give_the_same_market(
    seed: int, symbol: str, steps: list[int]
) -> None:
    one, other = market(symbol, seed), market(symbol, seed)
    assert run(one, steps) == run(other, steps)
    assert one.snapshot(5_000) == other.snapshot(5_000)
    assert one.window(one.now_ns) == other.window(other.now_ns)


@given(seeds, step_lists)
@settings(max_examples=12)
def test_how_time_is_cut_into_steps_changes_nothing(seed: int, steps: list[int]) -> None:
    fine, coarse = market(seed=seed), market(seed=seed)
    total_ns = sum(steps) % MAX_CATCH_UP_NS
    fine_events = [event for batch in run(fine, [total_ns // 2, total_ns - total_ns // 2])
                   for event in batch]  # fmt: skip
    assert [event for batch in run(coarse, [total_ns]) for event in batch] == fine_events


def test_another_seed_gives_another_market() -> None:
    assert market(seed=1).snapshot(10) != market(seed=2).snapshot(10)


@given(seeds, symbols, step_lists)
@settings(max_examples=12)
def test_the_book_is_never_crossed_and_keeps_both_sides(
    seed: int, symbol: str, steps: list[int]
) -> None:
    simulated = market(symbol, seed)
    for batch in run(simulated, steps):
        for event in batch:
            if isinstance(event, Quote):
                assert event.bid_e8 < event.ask_e8
                assert min(event.bid_size_e8, event.ask_size_e8) > 0
        _, bids, asks = simulated.snapshot(5_000)
        assert bids[0][0] < asks[0][0]
        assert min(price for price, _ in bids) > 0
        assert min(size for _, size in bids + asks) > 0
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)


@given(seeds, symbols, step_lists)
@settings(max_examples=12)
def test_diffs_are_contiguous_and_rebuild_the_true_book(
    seed: int, symbol: str, steps: list[int]
) -> None:
    simulated = market(symbol, seed)
    simulated.take_diff(FAST_DIFF)
    update_id, bids, asks = simulated.snapshot(5_000)
    book = (dict(bids), dict(asks))
    now_ns = START_NS
    for step_ns in steps:
        now_ns += step_ns
        simulated.step(now_ns)
        diff = simulated.take_diff(FAST_DIFF)
        if diff is None:
            continue
        assert diff.first_id == update_id + 1
        assert diff.last_id >= diff.first_id
        update_id = diff.last_id
        for side, levels in zip(book, (diff.bids, diff.asks), strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
    true_id, true_bids, true_asks = simulated.snapshot(5_000)
    assert (true_id, dict(true_bids), dict(true_asks)) == (update_id, *book)


@given(seeds, symbols, step_lists)
@settings(max_examples=12)
def test_trades_happen_at_the_quote_on_the_aggressors_side(
    seed: int, symbol: str, steps: list[int]
) -> None:
    simulated = market(symbol, seed)
    quote = simulated.quote()
    trade_ids: list[int] = []
    touched_e8 = 0
    for batch in run(simulated, steps):
        for event in batch:
            if isinstance(event, Quote):
                assert event.update_id > quote.update_id
                quote, touched_e8 = event, 0
            elif isinstance(event, Trade):
                trade_ids.append(event.trade_id)
                assert START_NS <= event.time_ns <= simulated.now_ns
                if event.buyer_is_maker:
                    assert event.price_e8 <= quote.bid_e8
                else:
                    assert event.price_e8 >= quote.ask_e8
                if event.price_e8 in (quote.bid_e8, quote.ask_e8):
                    touched_e8 += event.size_e8
                    is_bid = event.buyer_is_maker
                    resting_e8 = quote.bid_size_e8 if is_bid else quote.ask_size_e8
                    assert touched_e8 <= resting_e8
    assert all(other == one + 1 for one, other in pairwise(trade_ids))


@given(seeds, step_lists)
@settings(max_examples=12)
def test_aggregate_trades_cover_the_trades_without_gap(seed: int, steps: list[int]) -> None:
    simulated = market(seed=seed, activity=10.0)
    events = [event for batch in run(simulated, steps) for event in batch]
    trades = {event.trade_id: event for event in events if isinstance(event, Trade)}
    aggregates = [event for event in events if isinstance(event, AggregateTrade)]
    covered: list[int] = []
    for aggregate in aggregates:
        ids = range(aggregate.first_id, aggregate.last_id + 1)
        covered += ids
        assert sum(trades[number].size_e8 for number in ids) == aggregate.size_e8
        assert {trades[number].price_e8 for number in ids} == {aggregate.price_e8}
        assert {trades[number].buyer_is_maker for number in ids} == {aggregate.buyer_is_maker}
    assert covered == list(trades)
    own_ids = [aggregate.aggregate_id for aggregate in aggregates]
    assert all(other == one + 1 for one, other in pairwise(own_ids))


@given(seeds, symbols, step_lists)
@settings(max_examples=12)
def test_the_day_statistics_follow_from_the_trades(
    seed: int, symbol: str, steps: list[int]
) -> None:
    simulated = market(symbol, seed)
    before = simulated.window(START_NS)
    batches = run(simulated, steps)
    trades = [event for batch in batches for event in batch if isinstance(event, Trade)]
    after = simulated.window(simulated.now_ns)
    assert after.low_e8 <= after.last_e8 <= after.high_e8
    assert after.low_e8 <= after.average_e8 <= after.high_e8
    if not trades:
        return
    assert after.last_e8 == trades[-1].price_e8
    assert after.last_size_e8 == trades[-1].size_e8
    assert after.last_id == trades[-1].trade_id
    assert after.high_e8 >= max(trade.price_e8 for trade in trades)
    assert after.low_e8 <= min(trade.price_e8 for trade in trades)
    if after.open_e8 == before.open_e8 and after.first_id == before.first_id:
        assert after.count == before.count + len(trades)
        assert after.volume_e8 == before.volume_e8 + sum(trade.size_e8 for trade in trades)
        traded_e8 = sum(trade.price_e8 * trade.size_e8 // E8 for trade in trades)
        assert after.quote_e8 == before.quote_e8 + traded_e8


def test_a_long_pause_does_not_burst() -> None:
    simulated = market(activity=1.0)
    usual = sum(len(batch) for batch in run(simulated, [50 * MS] * 20))
    burst = len(simulated.step(simulated.now_ns + 600_000 * MS))
    assert burst < usual


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    simulated, other = market(activity=1.0), market(activity=1.0)
    run(simulated, [50 * MS] * 20)
    run(other, [50 * MS] * 20)
    simulated.step(simulated.now_ns - 3_600_000 * MS)
    after = [len(batch) for batch in run(simulated, [50 * MS] * 20)]
    assert after == [len(batch) for batch in run(other, [50 * MS] * 20)], "as if nothing had been"
    assert sum(after)


@pytest.mark.parametrize(
    ("symbol", "quotes", "trades"),
    [
        ("BTCUSDT", (20, 110), (8, 60)),
        ("ETHUSDT", (15, 80), (5, 40)),
        ("XRPUSDT", (3, 30), (1, 12)),
    ],
)
def test_rates_are_plausible(symbol: str, quotes: tuple[int, int], trades: tuple[int, int]) -> None:
    simulated = market(symbol, activity=1.0, levels=500)
    events = [event for batch in run(simulated, [20 * MS] * 1_500) for event in batch]
    quote_rate = sum(isinstance(event, Quote) for event in events) / 30
    trade_rate = sum(isinstance(event, Trade) for event in events) / 30
    assert quotes[0] <= quote_rate <= quotes[1]
    assert trades[0] <= trade_rate <= trades[1]
    _, bids, asks = simulated.snapshot(5_000)
    assert 300 <= len(bids) <= 600
    assert 300 <= len(asks) <= 600


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "XRPUSDT"])
def test_the_book_stays_full_near_the_best_price(symbol: str) -> None:
    """Over minutes no hole opens that the price could fall through."""
    simulated = market(symbol, activity=1.0, levels=300)
    middle_e8 = 0.0
    for second in range(150):
        run(simulated, [500 * MS] * 2)
        _, bids, asks = simulated.snapshot(40)
        before_e8, middle_e8 = middle_e8, (bids[0][0] + asks[0][0]) / 2
        assert asks[0][0] - bids[0][0] < 0.002 * middle_e8
        assert asks[-1][0] - bids[-1][0] < 0.05 * middle_e8
        assert second == 0 or abs(middle_e8 - before_e8) < 0.004 * middle_e8


def test_prices_and_sizes_keep_to_tick_and_lot() -> None:
    simulated = market("ETHUSDT")
    run(simulated, [100 * MS] * 50)
    instrument = simulated.instrument
    _, bids, asks = simulated.snapshot(5_000)
    for price, size in bids + asks:
        assert price % instrument.tick_e8 == 0
        assert size % instrument.lot_e8 == 0


def test_several_may_look_at_the_same_step() -> None:
    market = SymbolMarket(crypto_instrument("BTCUSDT"), 7, 10**18, levels=50)
    events = market.step(10**18 + 10**9)
    assert events
    assert market.step(10**18 + 10**9) is events
