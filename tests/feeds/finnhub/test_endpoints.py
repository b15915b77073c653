"""What is said to the venue, word for word."""

from __future__ import annotations

from bus.feeds.finnhub import endpoints


def test_the_documented_messages() -> None:
    assert endpoints.subscribe("AAPL") == '{"type":"subscribe","symbol":"AAPL"}'
    assert endpoints.unsubscribe("AAPL") == '{"type":"unsubscribe","symbol":"AAPL"}'
    assert endpoints.subscribe_news("AAPL") == '{"type":"subscribe-news","symbol":"AAPL"}'


def test_a_key_is_escaped_in_the_url() -> None:
    assert (
        endpoints.ws_url("wss://ws.finnhub.io/", "a&b=c") == "wss://ws.finnhub.io/?token=a%26b%3Dc"
    )
