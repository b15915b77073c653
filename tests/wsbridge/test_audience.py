"""Who is told more than messages."""

from __future__ import annotations

from bus.wsbridge.audience import Audience
from tests.wsbridge.makers import deliver, full, live, make_bridge, multi, warm


def test_followers_have_a_topic_of_the_feed_or_are_owed_one_and_want_to_know() -> None:
    bridge, _ = make_bridge()
    one, both, legacy, other, waiting = (
        full(bridge), full(bridge), multi(bridge), full(bridge), full(bridge)
    )  # fmt: skip
    one.say(action="subscribe", topics=["price.BTC"])
    both.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    legacy.say(action="subscribe", topics=["price.BTC"])
    other.say(action="subscribe", topics=["price.AAPL"])
    audience: Audience = bridge._audience
    key = live("price", 1).topic
    assert set(audience.concerned([key], [])) == {one, both, legacy}
    deliver(bridge, warm("price"), warm("trades"), warm("price", symbol="AAPL"))
    assert set(audience.concerned([key], [])) == set()
    assert set(audience.followers("binance")) == {one, both}
    assert set(audience.followers("finnhub")) == {other}
    waiting.say(action="subscribe", topics=["ticker.BTC"])
    assert waiting not in audience.followers("binance"), "it will be told with its answer"
    bridge.sweep(bridge._now_ns + 10**12)
    assert waiting in audience.followers("binance"), "it is owed the topic"
    assert set(audience.concerned([], ["binance"])) == {one, both, waiting}
