"""Symbols are the venue's own; one that cannot be a topic is refused with the reason."""

from __future__ import annotations

from bus.feeds.finnhub.symbols import Instrument, choose


def test_stocks_follow_a_calendar_and_others_do_not() -> None:
    assert Instrument("AAPL", "AAPL").stock
    assert not Instrument("BINANCE:BTCUSDT", "BINANCE:BTCUSDT").stock


def test_what_cannot_be_a_topic_is_refused_and_the_others_go_on() -> None:
    choice = choose(["AAPL", "IC MARKETS:1", "AAPL", "OANDA:EUR_USD"], "finnhub")
    assert [one.symbol for one in choice.instruments] == ["AAPL", "OANDA:EUR_USD"]
    assert "IC MARKETS:1" in choice.rejected["IC MARKETS:1"]
