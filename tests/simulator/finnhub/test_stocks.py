"""The seeded stock market."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.simulator.finnhub.stocks import StockMarket
from bus.simulator.instruments import stock_instrument

NOW_NS = 1_723_161_253_000_000_000


def stock(seed: int = 1, activity: float = 5.0) -> StockMarket:
    return StockMarket(stock_instrument("AAPL"), seed, NOW_NS, activity=activity)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 500), min_size=1, max_size=80))
@settings(max_examples=30)
def test_day_figures_follow_from_the_prints(seed: int, steps_ms: list[int]) -> None:
    own, twin = stock(seed), stock(seed)
    now_ns = NOW_NS
    prints = []
    for step_ms in steps_ms:
        now_ns += step_ms * 1_000_000
        fresh = own.step(now_ns)
        assert fresh == twin.step(now_ns)
        prints += fresh
    day = own.quote()
    assert 0 < day.low <= min(day.current, day.open)
    assert day.high >= max(day.current, day.open)
    times = [item.time_ms for item in prints]
    assert times == sorted(times)
    assert all(NOW_NS // 10**6 <= time <= now_ns // 10**6 for time in times)
    if prints:
        assert day.current == prints[-1].price
        assert day.low <= min(item.price for item in prints)
        assert day.high >= max(item.price for item in prints)


def test_prices_are_whole_cents_and_now_and_then_a_print_is_no_trade() -> None:
    own = stock(activity=20.0)
    prints = [item for second in range(1, 120) for item in own.step(NOW_NS + second * 500_000_000)]
    assert all(round(item.price, 2) == item.price for item in prints)
    updates = sum(item.size == 0 for item in prints)
    assert 0 < updates < len(prints) / 20
    assert {bool(item.conditions) for item in prints} == {True, False}


def test_a_long_pause_does_not_burst() -> None:
    assert len(stock(activity=1.0).step(NOW_NS + 3_600 * 10**9)) < 20


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    own = stock()
    own.step(NOW_NS + 10**9)
    back_ns = NOW_NS - 3_600 * 10**9
    assert not own.step(back_ns)
    assert any(own.step(back_ns + second * 10**9) for second in range(1, 60))


def test_change_is_against_the_previous_close() -> None:
    day = stock().quote()
    assert day.change == round(day.current - day.previous_close, 2)
    assert day.change_percent == round(100 * (day.current / day.previous_close - 1), 4)
