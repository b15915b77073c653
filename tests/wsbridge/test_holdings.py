"""What a client holds by name and by wildcard, and on which terms it gets a topic."""

from __future__ import annotations

from tests.wsbridge.makers import deliver, full, live, make_bridge, multi, seqs, settings_of, warm


def test_a_wildcard_brings_every_topic_it_matches_and_says_how_many() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    assert client.say(action="subscribe", id=1, topics=["price.*"]) == []
    for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "AAPL", "MSFT", "GOOGL"):
        deliver(bridge, live("price", 1, symbol=symbol), warm("price", symbol=symbol))
    got = client.take()
    (entry,) = got[0]["topics"]
    assert (entry["topic"], entry["matched"], entry["snapshot"]) == ("price.*", 6, True)
    assert got[0]["count"] == 100, "a wildcard counts as so many topics"
    assert {m["topic"] for m in got if m["type"] == "price"} == {
        "price.BTC", "price.ETH", "price.SOL", "price.AAPL", "price.MSFT", "price.GOOGL",
    }  # fmt: skip
    deliver(bridge, live("price", 2, symbol="ETH-USDT"))
    assert seqs(client.take(), "price.ETH") == [2]


def test_a_topic_that_matches_twice_is_sent_once_at_the_fastest_class() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["price.BTC"], conflate_ms=1000)
    deliver(bridge, live("price", 1), warm("price"))
    client.say(action="subscribe", topics=["*.BTC"], conflate_ms=0)
    for stream in ("quote", "orderbook", "trades", "ticker"):
        deliver(bridge, warm(stream))
    client.take()
    deliver(bridge, live("price", 2))
    deliver(bridge, live("price", 3))
    assert seqs(client.take()) == [2, 3]
    (ack,) = client.say(action="unsubscribe", topics=["*.BTC"])
    assert (ack["count"], ack["remaining"]) == (1, ["BTC"])
    deliver(bridge, live("price", 4))
    deliver(bridge, live("price", 5))
    assert seqs(client.take()) == [4], "the slow subscription is left"


def test_a_wildcard_receives_topics_created_later() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(action="subscribe", topics=["trades.*"], conflate_ms=0)
    bridge.sweep(2 * 10**18)
    client.take()
    bridge.take_settings(settings_of('feeds.binance.symbols=["BTC-USDT","XRP-USDT"]'))
    bridge.sweep(2 * 10**18 + 1)
    deliver(bridge, live("trades", 1, symbol="XRP-USDT"), warm("trades", symbol="XRP-USDT"))
    deliver(bridge, live("trades", 2, symbol="XRP-USDT"))
    assert seqs(client.take(), "trades.XRP-USDT") == [2]


def test_a_wildcard_must_fit_and_must_be_a_whole_token() -> None:
    bridge, _ = make_bridge("bridge.max_subscriptions=150")
    client = multi(bridge)
    client.say(action="subscribe", symbols=["*"])
    bridge.sweep(2 * 10**18)
    client.take()
    got = client.say(action="subscribe", topics=["trades.*", "price.B*", "candles.*"])
    assert [(r["requested"], r["code"]) for r in got[0]["rejected"]] == [
        ("trades.*", "limit_wildcards"),
        ("price.B*", "symbol_unknown"),
        ("candles.*", "stream_unknown"),
    ]


def test_terms_that_are_not_said_again_stay() -> None:
    bridge, _ = make_bridge()
    client = full(bridge)
    client.say(
        action="subscribe", topics=["orderbook.BTC"], depth=1, conflate_ms=100, numbers="string",
        on_slow="gap",
    )  # fmt: skip
    deliver(bridge, warm("orderbook"))
    (ack, *_) = client.take()
    (again, *_) = client.say(action="subscribe", topics=["orderbook.BTC"], depth=2)
    entry = again["topics"][0]
    assert (entry["depth"], entry["conflate_ms"], entry["numbers"], entry["on_slow"]) == (
        2, 100, "string", "gap",
    )  # fmt: skip
    assert (ack["topics"][0]["depth"], entry["already"]) == (1, True)
