"""Which topics a request names."""

from __future__ import annotations

import pytest

from bus.wsbridge.messages import Subscribe, Unsubscribe
from bus.wsbridge.naming import held_topics, named_topics, only_stream, pattern_of
from bus.wsbridge.topics import Directory, MarketTopic, Unknown
from tests.wsbridge.makers import settings_of

DIRECTORY = Directory(settings_of())


def names(request: Subscribe) -> list[str]:
    found = [topic for _, topic in named_topics(DIRECTORY, request)]
    return [topic.name if isinstance(topic, MarketTopic) else topic.code for topic in found]


@pytest.mark.parametrize(
    ("request_made", "expected", "stream"),
    [
        (Subscribe(symbols=["BTC", "eth"]), ["price.BTC", "price.ETH"], "price"),
        (Subscribe(symbol="BTC", stream_type="trade"), ["trades.BTC"], "trades"),
        (
            Subscribe(symbols=["BTC"], stream_type=["price", "book"]),
            ["price.BTC", "orderbook.BTC"],
            None,
        ),
        (Subscribe(topics=["price.BTC", "news.crypto"]), ["price.BTC", "news.crypto"], None),
        (Subscribe(symbols=["crypto"], stream_type="news"), ["news.crypto"], "news"),
        (Subscribe(symbols=["X"]), ["symbol_unknown"], "price"),
        (Subscribe(symbols=["BTC"], stream_type="x"), ["stream_unknown"], None),
    ],
)
def test_a_subscribe_names_topics(
    request_made: Subscribe, expected: list[str], stream: str | None
) -> None:
    assert names(request_made) == expected
    assert only_stream(request_made) == stream


HELD = ["price.BTC", "price.BTC@sim", "trades.BTC", "trades.ETH", "news.crypto"]


@pytest.mark.parametrize(
    ("request_made", "expected"),
    [
        (Unsubscribe(symbols=["BTC"]), [["price.BTC", "price.BTC@sim", "trades.BTC"]]),
        (Unsubscribe(symbols=["btcusdt"], stream_type="price"), [["price.BTC", "price.BTC@sim"]]),
        (Unsubscribe(symbols=["BTC@sim"]), [["price.BTC@sim"]]),
        (Unsubscribe(topics=["trades.eth", "price.ETH", "x"]), [["trades.ETH"], [], []]),
        (Unsubscribe(symbols=["CRYPTO"]), [["news.crypto"]]),
        (Unsubscribe(symbols=["BTC"], stream_type="nope"), [[]]),
        (Unsubscribe(), []),
    ],
)
def test_an_unsubscribe_names_held_topics(
    request_made: Unsubscribe, expected: list[list[str]]
) -> None:
    held = []
    for name in HELD:
        topic = DIRECTORY.resolve_topic(name)
        assert not isinstance(topic, Unknown)
        held.append(topic)
    found = held_topics(DIRECTORY, request_made, held)
    assert [[topic.name for topic in meant] for _, meant in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Price.btc", "price.BTC"),
        ("book.*", "orderbook.*"),
        ("orderbook.*#delta", "orderbook.*#delta"),
        ("depth.*@SIM#delta", "orderbook.*@sim#delta"),
        ("*.btc#delta", "*.BTC#delta"),
        ("news.CRYPTO", "news.crypto"),
    ],
)
def test_a_pattern_has_one_spelling(text: str, expected: str) -> None:
    assert pattern_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orderbook.*#delta", {"orderbook.BTC#delta", "orderbook.ETH#delta"}),
        ("orderbook.*@sim#delta", {"orderbook.BTC@sim#delta", "orderbook.ETH@sim#delta"}),
        ("*.BTC#delta", {"orderbook.BTC#delta"}),
    ],
)
def test_a_wildcard_of_book_changes_matches_books(text: str, expected: set[str]) -> None:
    found = DIRECTORY.matching(pattern_of(text))
    assert isinstance(found, list)
    assert {topic.name for topic in found} >= expected
    assert all(topic.is_delta for topic in found)


@pytest.mark.parametrize("text", ["price.*#delta", "news.*#delta", "nope.*#delta"])
def test_nothing_else_has_changes(text: str) -> None:
    found = DIRECTORY.matching(pattern_of(text))
    assert isinstance(found, Unknown)
    assert found.code == "stream_unknown"
