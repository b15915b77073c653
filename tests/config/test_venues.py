"""What venues serve is said once."""

from __future__ import annotations

from bus.config import load
from bus.config.venues import MARKET_STREAMS, streams_of
from bus.wsbridge.topics import Directory


def test_a_venue_serves_everything_unless_it_is_said_otherwise() -> None:
    assert streams_of("binance") == MARKET_STREAMS
    assert streams_of("finnhub") == ("price", "trades", "ticker")


def test_clients_are_told_of_the_streams_that_the_venue_has() -> None:
    settings = load(None, [])
    directory = Directory(settings)
    for name, feed in settings.feeds.items():
        if feed.enabled:
            streams = len(streams_of(settings.venue_of(name)))
            topics = streams * len(feed.symbols) + len(feed.news_categories)
            assert directory.topic_count_of[name] == topics
