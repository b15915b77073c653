"""Rolling 24-hour statistics."""

from __future__ import annotations

from bus.simulator.instruments import E8
from bus.simulator.stats import MINUTE_NS, WINDOW_MINUTES, RollingStats

T0 = 30_000_000 * MINUTE_NS


def test_figures_of_a_few_trades() -> None:
    stats = RollingStats(90 * E8)
    for number, (price, size) in enumerate(((100, 2), (110, 1), (95, 1))):
        stats.add(T0 + number, number + 7, price * E8, size * E8)
    window = stats.window(T0 + MINUTE_NS // 2)
    assert window.open_e8 == 100 * E8
    assert window.high_e8 == 110 * E8
    assert window.low_e8 == 95 * E8
    assert window.last_e8 == 95 * E8
    assert window.last_size_e8 == E8
    assert window.volume_e8 == 4 * E8
    assert window.quote_e8 == 405 * E8
    assert window.average_e8 == 405 * E8 // 4
    assert (window.first_id, window.last_id, window.count) == (7, 9, 3)
    assert window.previous_close_e8 == 90 * E8


def test_what_is_older_than_a_day_leaves_the_window() -> None:
    stats = RollingStats(90 * E8)
    stats.add(T0, 1, 500 * E8, E8)
    stats.add(T0 + MINUTE_NS, 2, 100 * E8, E8)
    window = stats.window(T0 + (WINDOW_MINUTES + 1) * MINUTE_NS)
    assert (window.first_id, window.count, window.high_e8) == (2, 1, 100 * E8)
    assert window.previous_close_e8 == 500 * E8


def test_the_high_of_the_running_minute_counts_at_once() -> None:
    stats = RollingStats(0)
    stats.add(T0, 1, 100 * E8, E8)
    stats.add(T0 + MINUTE_NS, 2, 90 * E8, E8)
    assert stats.window(T0 + MINUTE_NS).high_e8 == 100 * E8
    stats.add(T0 + MINUTE_NS + 1, 3, 120 * E8, E8)
    assert stats.window(T0 + MINUTE_NS + 1).high_e8 == 120 * E8


def test_without_trades_the_last_price_stands() -> None:
    stats = RollingStats(100 * E8)
    stats.add(T0, 1, 101 * E8, E8)
    window = stats.window(T0 + 3 * WINDOW_MINUTES * MINUTE_NS)
    assert (window.last_e8, window.open_e8, window.count) == (101 * E8, 101 * E8, 0)
    assert window.average_e8 == 101 * E8
