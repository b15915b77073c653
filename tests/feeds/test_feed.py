"""Settings reach the parts they are meant for."""

from __future__ import annotations

from bus.config import FeedSettings
from bus.feeds.backoff import Backoff
from tests.feeds.tap import Statuses, Tap, make_feed

SETTINGS = FeedSettings(
    retry_floor_s=0.5,
    retry_cap_s=9.0,
    orderbook_levels=5,
    book_max_levels=500,
    buffer_diffs=10_000,
    depth_snapshot_deltas=7,
    depth_snapshot_s=8.0,
    connect_timeout_s=3.0,
    max_frame_bytes=16_777_216,
    messages_per_s=2,
    rotate_after_s=60.0,
    unauthorized_retry_s=99.0,
)


def test_books_and_sessions_get_what_was_set() -> None:
    feed = make_feed(Tap(), Statuses(), SETTINGS)
    limits = feed.book_limits
    assert (limits.orderbook_levels, limits.book_max_levels, limits.buffer_diffs) == (
        5,
        500,
        10_000,
    )
    assert (limits.depth_snapshot_deltas, limits.depth_snapshot_s) == (7, 8.0)
    session = feed.session_settings("binance.1")
    assert (session.name, session.connect_timeout_s, session.messages_per_s) == (
        "binance.1",
        3.0,
        2,
    )
    assert (session.max_frame_bytes, session.unauthorized_retry_s) == (16_777_216, 99.0)
    assert session.backoff == feed.backoff == Backoff(0.5, 9.0)
    assert session.rotate_after_s == 60.0


def test_a_venue_may_refuse_rotation() -> None:
    feed = make_feed(Tap(), Statuses(), SETTINGS)
    assert feed.session_settings("finnhub", rotate_after_s=0.0).rotate_after_s == 0.0


def test_the_defaults_hold_what_is_promised() -> None:
    settings = FeedSettings()
    assert settings.buffer_diffs >= 10_000
    assert settings.max_frame_bytes >= 16 * 1024 * 1024
    assert settings.messages_per_s <= 4
    assert settings.depth_snapshot_deltas <= 1_000
    assert settings.depth_snapshot_s <= 30
    assert (settings.retry_floor_s, settings.retry_cap_s) == (0.25, 30.0)
