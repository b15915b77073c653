"""The protocol as one client sees it, on a fake bus and with time moved by hand."""

from __future__ import annotations

import pytest

from bus.wsbridge.messages import CloseCode, epoch_text
from tests.wsbridge.makers import (
    BTC_PRICE,
    EPOCH,
    SECOND_NS,
    T0_NS,
    WAIT_NS,
    deliver,
    join,
    live,
    make_bridge,
    multi,
    seqs,
    status,
    types,
    warm,
)


def test_a_fixed_endpoint_greets_with_its_symbol_and_streams_at_once() -> None:
    bridge, bus = make_bridge()
    client = join(bridge, "/ws/market/btcusdt/PRICE")
    (hello,) = client.take()
    assert (hello["symbol"], hello["stream_type"]) == ("BTC", "price")
    assert bus.wanted == [b"sys/status/", BTC_PRICE]
    deliver(bridge, live("price", 5), warm("price"))
    deliver(bridge, live("price", 6))
    got = client.take()
    assert types(got) == ["price", "price"]
    assert (got[0]["snapshot"], got[0]["epoch"]) == (True, epoch_text(EPOCH))
    assert "snapshot" not in got[1]
    assert seqs(got) == [5, 6]


def test_a_news_endpoint_greets_with_its_category() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/news/crypto/")
    (hello,) = client.take()
    assert hello["category"] == "crypto"
    assert "symbol" not in hello
    deliver(bridge, live("news", 1, symbol="crypto"), warm("news", symbol="crypto"))
    deliver(bridge, live("news", 2, symbol="crypto"))
    assert seqs(client.take(), "news.crypto") == [2]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/ws/market/NOPE/price/", "symbol_unknown"),
        ("/ws/market/BTC/candles/", "stream_unknown"),
        ("/ws/news/sports/", "category_unknown"),
        ("/ws/replay/", "unsupported"),
    ],
)
def test_a_url_of_nothing_known_is_told_and_closed_4506(url: str, code: str) -> None:
    bridge, _ = make_bridge()
    client = join(bridge, url)
    (refusal,) = client.take()
    assert (refusal["type"], refusal["code"]) == ("error", code)
    assert client.closed is CloseCode.UNKNOWN_STREAM


def test_bad_options_are_told_after_the_greeting_and_the_rest_goes_on() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/market/BTC/price/?batch_ms=300&snapshot=2")
    got = client.take()
    assert types(got) == ["connection", "error", "error"]
    assert [(m["code"], m["field"]) for m in got[1:]] == [
        ("bad_request", "batch_ms"),
        ("bad_request", "snapshot"),
    ]
    deliver(bridge, live("price", 1), warm("price"))
    assert seqs(client.take()) == [1]


def test_a_codec_that_is_not_there_closes_4507() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/v1?codec=xml")
    assert types(client.take()) == ["error"], "`connected` would say that it can be used"
    assert client.closed is CloseCode.UNSUPPORTED_CODEC


def test_streams_in_the_url_equal_a_subscribe() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/market-multi/?streams=price.BTC,trades.ETH&snapshot=0")
    deliver(bridge, live("price", 1), warm("price"), warm("trades", symbol="ETH-USDT"))
    got = client.take()
    assert types(got) == ["connection", "subscription"]
    assert [entry["topic"] for entry in got[1]["topics"]] == ["price.BTC", "trades.ETH"]


def test_the_acknowledgement_precedes_the_snapshot_and_live_follows_without_a_hole() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    deliver(bridge, status("binance", "live"))
    assert client.say(action="subscribe", id=1, symbols=["BTC", "NOPE"]) == []
    deliver(bridge, live("price", 3), live("price", 4), warm("price"))
    got = client.take()
    assert types(got) == ["subscription", "price"]
    ack = got[0]
    assert (ack["action"], ack["id"], ack["symbols"], ack["stream_type"]) == (
        "subscribed", 1, ["BTC"], "price",
    )  # fmt: skip
    (entry,) = ack["topics"]
    assert entry == {
        "topic": "price.BTC",
        "requested": "BTC",
        "state": "live",
        "epoch": epoch_text(EPOCH),
        "seq": 4,
        "snapshot": True,
        "conflate_ms": 0,
    }
    assert ack["rejected"] == [
        {
            "topic": "price.NOPE",
            "requested": "NOPE",
            "code": "symbol_unknown",
            "message": "no configured feed serves NOPE",
        }
    ]
    assert seqs(got) == [4]
    deliver(bridge, live("price", 5), live("price", 6))
    assert seqs(client.take()) == [5, 6]


def test_unsubscribe_is_a_barrier_and_names_what_is_left() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    deliver(bridge, warm("price"), warm("price", symbol="ETH-USDT"))
    client.take()
    (ack,) = client.say(action="unsubscribe", id="u", symbols=["ETH"])
    assert (ack["action"], ack["id"], ack["symbols"], ack["remaining"], ack["count"]) == (
        "unsubscribed", "u", ["ETH"], ["BTC"], 1,
    )  # fmt: skip
    deliver(bridge, live("price", 1, symbol="ETH-USDT"), live("price", 1))
    assert [m["topic"] for m in client.take()] == ["price.BTC"]


def test_unsubscribe_without_a_stream_type_means_every_stream_of_the_symbol() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"], stream_type=["price", "trades", "orderbook"])
    deliver(bridge, warm("price"), warm("trades"), warm("orderbook"))
    client.take()
    (ack,) = client.say(action="unsubscribe", symbols=["btc-usdt"], stream_type="trades")
    assert [entry["topic"] for entry in ack["topics"]] == ["trades.BTC"]
    (ack,) = client.say(action="unsubscribe", symbols=["BTC"])
    assert {entry["topic"] for entry in ack["topics"]} == {"price.BTC", "orderbook.BTC"}
    assert ack["count"] == 0


def test_unsubscribe_of_what_is_not_held() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    (refusal,) = client.say(action="unsubscribe", id=4, symbols=["ETH"])
    assert (refusal["code"], refusal["id"]) == ("not_subscribed", 4)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, warm("price"))
    client.take()
    (ack,) = client.say(action="unsubscribe", symbols=["BTC", "ETH"])
    assert [r["code"] for r in ack["rejected"]] == ["not_subscribed"]
    (refusal,) = client.say(action="unsubscribe")
    assert (refusal["code"], refusal["field"]) == ("bad_request", "symbols")
    (ack,) = client.say(action="unsubscribe", all=True)
    assert ack["symbols"] == []


def test_subscribing_again_changes_options_and_repeats_the_snapshot_only_if_asked() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["orderbook.BTC"])
    deliver(bridge, live("orderbook", 1), warm("orderbook"))
    client.take()
    (ack,) = client.say(action="subscribe", topics=["orderbook.BTC"], depth=1)
    assert (ack["topics"][0]["already"], ack["topics"][0]["depth"]) == (True, 1)
    deliver(bridge, live("orderbook", 2))
    (book,) = client.take()
    assert len(book["data"]["bids"]) == 1
    got = client.say(action="subscribe", topics=["orderbook.BTC"], snapshot=True)
    assert types(got) == ["subscription", "orderbook"]
    assert len(got[1]["data"]["bids"]) == 1, "the depth stays what it was"
    deliver(bridge, live("orderbook", 3))
    assert seqs(client.take(), "orderbook.BTC") == [3], "one subscription, not two"


def test_a_fixed_endpoint_refuses_other_topics_and_closes_on_unsubscribe() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/market/BTC/price/")
    deliver(bridge, warm("price"))
    client.take()
    (refusal,) = client.say(action="subscribe", symbols=["ETH"])
    assert (refusal["code"], refusal["topic"]) == ("fixed_subscription", "price.ETH")
    (ack,) = client.say(action="subscribe", symbols=["BTC"])
    assert ack["topics"][0]["already"] is True
    (ack,) = client.say(action="unsubscribe")
    assert ack["action"] == "unsubscribed"
    assert client.closed is CloseCode.BYE


def test_the_limit_of_topics_rejects_the_excess() -> None:
    bridge, _ = make_bridge("bridge.max_subscriptions=2")
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH", "SOL"], snapshot=False)
    bridge.sweep(T0_NS + WAIT_NS)
    (ack,) = client.take()
    assert [e["topic"] for e in ack["topics"]] == ["price.BTC", "price.ETH"]
    assert [(r["topic"], r["code"]) for r in ack["rejected"]] == [
        ("price.SOL", "limit_subscriptions")
    ]
    assert (ack["count"], ack["limit"]) == (2, 2)


def test_ten_errors_of_class_400_in_ten_seconds_close_4500() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    for n in range(9):
        client.say(action="nonsense", now_ns=T0_NS + n)
    assert client.closed is None
    client.say(action="unsubscribe", symbols=["ETH"])  # 409: not of that class
    assert client.closed is None
    client.say(action="nonsense", now_ns=T0_NS + 10 * SECOND_NS)
    assert client.closed is CloseCode.BAD_REQUEST


def test_ten_errors_over_a_longer_time_do_not() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    for n in range(40):
        client.say(action="nonsense", now_ns=T0_NS + n * 2 * SECOND_NS)
    assert client.closed is None
