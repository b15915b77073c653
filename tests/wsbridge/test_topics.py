"""Names of topics as clients write them, and what they resolve to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.topics import Directory, MarketTopic, Unknown
from tests.wsbridge.makers import settings_of

DIRECTORY = Directory(settings_of())
LIVE = Directory(settings_of("mode=live"))


def found(stream: str, symbol: str, directory: Directory = DIRECTORY) -> MarketTopic:
    topic = directory.resolve(stream, symbol)
    assert isinstance(topic, MarketTopic), topic
    return topic


@pytest.mark.parametrize("name", ["BTC", "btc", "btcusdt", "BTC-USDT", "btc-usdt", "BTC/USDT"])
def test_every_name_of_an_instrument_means_its_alias(name: str) -> None:
    topic = found("price", name)
    assert topic.name == "price.BTC"
    assert topic.symbol == "BTC"
    assert topic.bus_key == b"md/price/sim/BTC-USDT/"
    assert (topic.source, topic.feed, topic.feed_symbol) == ("sim", "binance", "BTC-USDT")


def test_an_instrument_without_an_alias_keeps_its_symbol() -> None:
    assert found("trades", "aapl").name == "trades.AAPL"


@pytest.mark.parametrize(
    ("word", "stream"),
    [("PRICE", "price"), ("trade", "trades"), ("book", "orderbook"), ("depth", "orderbook"),
     ("Ticker", "ticker"), ("quote", "quote")],
)  # fmt: skip
def test_streams_have_their_legacy_aliases_in_any_case(word: str, stream: str) -> None:
    assert found(word, "BTC").stream == stream


def test_a_named_source_is_part_of_the_topic() -> None:
    topic = found("price", "BTC@sim")
    assert (topic.name, topic.bus_key) == ("price.BTC@sim", b"md/price/sim/BTC-USDT/")
    assert found("price", "aapl@SIM").name == "price.AAPL@sim"


def test_nothing_simulated_answers_to_a_real_venues_name() -> None:
    unknown = DIRECTORY.resolve("price", "BTC@binance")
    assert isinstance(unknown, Unknown)
    assert unknown.code == "symbol_unknown"
    assert found("price", "BTC@binance", LIVE).source == "binance"


def test_a_topic_is_split_at_its_first_dot() -> None:
    unknown = DIRECTORY.resolve_topic("price.BRK.B")
    assert isinstance(unknown, Unknown)
    assert "BRK.B" in unknown.message
    directory = Directory(settings_of('feeds.finnhub.symbols=["BRK.B"]'))
    topic = directory.resolve_topic("price.brk.b")
    assert isinstance(topic, MarketTopic)
    assert topic.name == "price.BRK.B"


def test_news_categories_are_resolved() -> None:
    topic = found("news", "Crypto")
    assert (topic.name, topic.bus_key) == ("news.crypto", b"md/news/sim/crypto/")


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("price.NOPE", "symbol_unknown"),
        ("price.", "stream_unknown"),
        ("price", "stream_unknown"),
        ("", "stream_unknown"),
        ("candles.BTC", "stream_unknown"),
        ("news.sports", "category_unknown"),
        ("price.B TC", "symbol_unknown"),
        ("price.BTC@", "symbol_unknown"),
        ("price.BTC@co in", "symbol_unknown"),
        ("price.*", "symbol_unknown"),
        ("price.BTC#delta", "stream_unknown"),
        ("orderbook.AAPL", "stream_unknown"),
        ("price." + "A" * 65, "symbol_unknown"),
    ],
)
def test_what_nobody_serves_is_unknown_with_a_code(topic: str, code: str) -> None:
    unknown = DIRECTORY.resolve_topic(topic)
    assert isinstance(unknown, Unknown)
    assert unknown.code == code
    assert unknown.message


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_resolves_or_is_unknown(stream: str, symbol: str) -> None:
    for result in (DIRECTORY.resolve(stream, symbol), DIRECTORY.resolve_topic(stream)):
        if isinstance(result, Unknown):
            assert result.message.isprintable()
            assert len(result.message) < 300


def test_a_disabled_feed_serves_nothing() -> None:
    directory = Directory(settings_of("feeds.binance.enabled=false"))
    assert isinstance(directory.resolve("price", "BTC"), Unknown)
    assert "BTC" not in directory.symbols
    assert directory.feeds == ("finnhub",)
