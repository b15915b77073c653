"""Topics as values."""

from __future__ import annotations

from bus.model import Topic


def test_a_market_data_topic_ends_in_a_slash() -> None:
    topic = Topic.md("trades", "binance", "BTC-USDT")
    assert topic.name == str(topic) == "md/trades/binance/BTC-USDT/"
    assert topic.key == b"md/trades/binance/BTC-USDT/"


def test_a_status_topic_stands_for_a_feed_or_one_symbol_of_it() -> None:
    assert Topic.status("binance").name == "sys/status/binance/"
    assert Topic.status("binance", "BTC-USDT").name == "sys/status/binance/BTC-USDT/"
