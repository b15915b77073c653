"""The protocol as one client sees it, on a fake bus and with time moved by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.client.deliveries import Delivery, EpochChanged, GapFound, Message
from bus.model import Price, Trade
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.messages import CloseCode, epoch_text
from tests.wsbridge.makers import (
    EPOCH,
    SECOND_NS,
    T0_NS,
    FakeClient,
    deliver,
    join,
    live,
    make_bridge,
    status,
    warm,
)

BTC_PRICE = b"md/price/sim/BTC-USDT/"
WAIT_NS = 250_000_000


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def seqs(messages: list[dict[str, Any]], topic: str = "price.BTC") -> list[int]:
    return [message["seq"] for message in messages if message.get("topic") == topic]


def multi(bridge: Bridge) -> FakeClient:
    client = join(bridge)
    assert types(client.take()) == ["connection"]
    return client


def test_the_greeting_says_what_is_there_and_nothing_more() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"))
    (hello,) = join(bridge).take()
    assert (hello["type"], hello["status"], hello["profile"]) == (
        "connection", "connected", "compat",
    )  # fmt: skip
    assert hello["simulated"] is True
    assert hello["connection_id"] == "b1-000001"
    assert hello["feeds"] == {"binance": "live", "finnhub": "connecting"}
    assert hello["capabilities"] == ["recovery", "history", "snapshot", "status"]
    assert hello["limits"]["subscriptions"] == 1024
    assert "symbol" not in hello
    live_bridge, _ = make_bridge("mode=live")
    (hello,) = join(live_bridge).take()
    assert hello["simulated"] is False


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
    client = join(bridge, "/ws/market/BTC/price/?conflate_ms=100&snapshot=2")
    got = client.take()
    assert types(got) == ["connection", "error", "error"]
    assert [(m["code"], m["field"]) for m in got[1:]] == [
        ("unsupported", "conflate_ms"),
        ("bad_request", "snapshot"),
    ]
    deliver(bridge, live("price", 1), warm("price"))
    assert seqs(client.take()) == [1]


def test_a_codec_that_is_not_there_closes_4507() -> None:
    bridge, _ = make_bridge()
    client = join(bridge, "/ws/v1?codec=msgpack")
    assert types(client.take()) == ["connection", "error"]
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


def test_a_warm_topic_is_answered_at_once_from_the_bridges_own_last_value() -> None:
    bridge, bus = make_bridge()
    first = multi(bridge)
    first.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    second = multi(bridge)
    got = second.say(action="subscribe", symbols=["BTC"])
    assert types(got) == ["subscription", "price"]
    assert bus.wanted.count(BTC_PRICE) == 1


def test_a_batch_is_one_write_for_each_client() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["price.BTC", "trades.BTC"])
    deliver(bridge, warm("price"), warm("trades"))
    writes = client.writes
    deliver(bridge, *[live(s, n) for n in range(1, 50) for s in ("price", "trades")])
    assert client.writes == writes + 1
    assert len(client.take()) == 1 + 98


def test_without_an_answer_the_topic_is_pending_and_its_first_value_comes_later() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bridge.sweep(T0_NS + WAIT_NS - 1)
    assert client.take() == []
    bridge.sweep(T0_NS + WAIT_NS)
    (ack,) = client.take()
    assert (ack["topics"][0]["state"], ack["topics"][0]["seq"]) == ("pending", 0)
    assert client.resumed == 1
    deliver(bridge, live("price", 8), warm("price"))
    deliver(bridge, live("price", 9))
    got = client.take()
    assert seqs(got) == [8, 9]
    assert got[0]["snapshot"] is True


def test_a_topic_given_up_while_pending_never_arrives() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bridge.sweep(T0_NS + WAIT_NS)
    client.take()
    (bye,) = client.say(action="unsubscribe", symbols=["BTC"])
    assert bye["symbols"] == ["BTC"]
    deliver(bridge, live("price", 8), warm("price"))
    assert client.take() == []


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


def test_two_depths_of_a_book_are_two_channels() -> None:
    bridge, _ = make_bridge()
    shallow, deep = multi(bridge), multi(bridge)
    shallow.say(action="subscribe", topics=["orderbook.BTC"], depth=1, snapshot=False)
    deep.say(action="subscribe", topics=["orderbook.BTC"], snapshot=False)
    deliver(bridge, live("orderbook", 1), warm("orderbook"))
    shallow.take()
    deep.take()
    deliver(bridge, live("orderbook", 2))
    assert len(shallow.take()[0]["data"]["bids"]) == 1
    assert len(deep.take()[0]["data"]["bids"]) == 2


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


def test_list_ping_and_status() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    deliver(bridge, status("binance", "live"))
    client.say(action="subscribe", topics=["price.BTC", "trades.ETH", "news.crypto"])
    deliver(
        bridge,
        live("price", 4),
        warm("price"),
        warm("trades", symbol="ETH-USDT"),
        warm("news", symbol="crypto"),
    )
    client.take()
    (reply,) = client.say(action="list", id=3)
    assert (reply["type"], reply["id"], reply["count"]) == ("list", 3, 3)
    assert reply["subscribed"] == ["BTC", "ETH", "crypto"]
    assert [(s["topic"], s["state"], s["seq"]) for s in reply["subscriptions"]] == [
        ("price.BTC", "live", 4), ("trades.ETH", "pending", 0), ("news.crypto", "pending", 0),
    ]  # fmt: skip
    (pong,) = client.say(action="ping", ts=[1, {"a": None}], now_ns=T0_NS + 340_000)
    assert pong == {
        "type": "pong",
        "ts": [1, {"a": None}],
        "server_us": T0_NS // 1000 + 340,
        "timestamp": "2026-01-28T10:30:00.000340Z",
    }
    statuses = client.say(action="status", id=5)
    assert [(s["feed"], s["state"], s["id"]) for s in statuses] == [
        ("binance", "live", 5), ("finnhub", "connecting", 5),
    ]  # fmt: skip
    (refusal,) = client.say(action="status", feeds=["bloomberg"])
    assert (refusal["code"], refusal["field"]) == ("bad_request", "feeds")


def test_snapshot_gives_last_values_without_a_subscription() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="snapshot", id=6, topics=["price.BTC", "price.ETH", "trades.BTC"])
    deliver(
        bridge,
        live("price", 9),
        live("trades", 1),
        live("trades", 2),
        warm("price"),
        warm("trades"),
        warm("price", symbol="ETH-USDT"),
    )
    got = client.take()
    assert types(got) == ["price", "trade", "snapshot_end"]
    assert got[1]["seq"] == 2
    assert (got[2]["id"], got[2]["topics"], got[2]["sent"]) == (6, 3, 2)
    assert got[2]["empty"] == ["price.ETH"]
    deliver(bridge, live("price", 10))
    assert client.take() == []
    bridge.sweep(T0_NS + 60 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]


def test_snapshot_of_a_topic_whose_feed_is_down_says_so() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    deliver(bridge, status("binance", "down"))
    got = client.say(action="snapshot", topics=["price.BTC", "price.NOPE"])
    deliver(bridge, warm("price"))
    got += client.take()
    assert [m.get("code") for m in got] == ["symbol_unknown", "feed_down", None]
    assert (got[1]["retryable"], got[1]["status"], got[1]["retry_after_ms"]) == (True, 503, 5000)


@pytest.mark.parametrize(
    ("feed_state", "age_s", "expected", "marked"),
    [
        ("live", 59, "live", False),
        ("live", 61, "stale", True),
        ("down", 1, "down", True),
        ("recovering", 1, "stale", True),
        ("closed", 3600, "closed", False),
    ],
)
def test_the_state_of_a_topic_follows_its_age_and_its_feed(
    feed_state: str, age_s: int, expected: str, marked: bool
) -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", feed_state))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"), now_ns=T0_NS + age_s * SECOND_NS)
    ack, price = client.take()
    entry = ack["topics"][0]
    assert entry["state"] == expected
    assert entry.get("age_ms") == (None if expected == "live" else age_s * 1000)
    assert price.get("stale") == (True if marked else None)
    assert price.get("age_ms") == (age_s * 1000 if marked else None)


def test_the_worse_of_feed_and_symbol_counts() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "live"), status("binance", "stale", symbol="BTC-USDT"))
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    deliver(bridge, live("price", 1), live("price", 1, symbol="ETH-USDT"), warm("price"))
    deliver(bridge, warm("price", symbol="ETH-USDT"))
    assert [e["state"] for e in client.take()[0]["topics"]] == ["stale", "live"]


def test_an_older_status_does_not_replace_a_newer_one() -> None:
    bridge, _ = make_bridge()
    deliver(bridge, status("binance", "down", 5), status("binance", "live", 4))
    assert join(bridge).take()[0]["feeds"]["binance"] == "down"


def test_history_is_sent_oldest_first_and_counted() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], history=3)
    deliver(bridge, *[live("trades", n) for n in range(1, 11)], warm("trades"))
    deliver(bridge, live("trades", 11))
    got = client.take()
    assert seqs(got, "trades.BTC") == [8, 9, 10, 11]
    assert got[0]["topics"][0]["history"] == 3
    assert [m.get("snapshot") for m in got[1:]] == [True, True, True, None]


def test_trades_too_old_are_no_history() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"], history=10)
    old, new = live("trades", 1), live("trades", 2, at_ns=T0_NS + 400 * SECOND_NS)
    deliver(bridge, old, new, warm("trades"), now_ns=T0_NS + 401 * SECOND_NS)
    assert seqs(client.take(), "trades.BTC") == [2]


@pytest.mark.parametrize(
    ("since", "recovered", "reason", "expected"),
    [
        ((EPOCH, 7), True, None, [8, 9, 10]),
        ((EPOCH, 10), True, None, []),
        ((EPOCH, 12), True, None, []),
        ((EPOCH - 1, 7), False, "epoch", []),
        ((EPOCH, 1), False, "evicted", []),
    ],
)
def test_recovery_replays_exactly_what_was_missed_or_says_why_not(
    since: tuple[int, int], recovered: bool, reason: str | None, expected: list[int]
) -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    position = {"epoch": epoch_text(since[0]), "seq": since[1]}
    client.say(action="subscribe", topics=["trades.BTC"], since={"trades.BTC": position})
    deliver(bridge, *[live("trades", n) for n in range(5, 11)], warm("trades"))
    got = client.take()
    entry = got[0]["topics"][0]
    assert (entry["recovered"], entry.get("reason")) == (recovered, reason)
    assert seqs(got, "trades.BTC") == expected
    assert all(m["recovered"] and "snapshot" not in m for m in got[1:])


def test_recovery_of_a_state_topic_is_one_message_if_anything_changed() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    for seq, expected in ((3, [4]), (4, [])):
        position = {"epoch": epoch_text(EPOCH), "seq": seq}
        got = client.say(action="subscribe", topics=["price.BTC"], since={"price.BTC": position})
        if not got:
            deliver(bridge, live("price", 4), warm("price"))
            got = client.take()
        assert seqs(got) == expected
        client.say(action="unsubscribe", all=True)


def test_too_much_to_recover_falls_back_whole() -> None:
    bridge, _ = make_bridge("bridge.history=5")
    client = multi(bridge)
    position = {"epoch": epoch_text(EPOCH), "seq": 1}
    client.say(action="subscribe", topics=["trades.BTC"], since={"trades.BTC": position})
    deliver(bridge, *[live("trades", n) for n in range(1, 11)], warm("trades"))
    got = client.take()
    assert got[0]["topics"][0]["reason"] == "too_many"
    assert len(got) == 1


def test_a_new_epoch_is_marked_on_its_first_message() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 7), warm("price"))
    client.take()
    changed = EpochChanged(BTC_PRICE, EPOCH, EPOCH + 5)
    deliver(bridge, changed, live("price", 1, epoch=EPOCH + 5), live("price", 2, epoch=EPOCH + 5))
    first, second = client.take()
    assert (first["seq"], first["epoch"], first["snapshot"]) == (1, epoch_text(EPOCH + 5), True)
    assert "epoch" not in second


def test_a_lost_message_is_counted_and_the_stream_goes_on() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, live("trades", 1), warm("trades"))
    client.take()
    gap = GapFound(b"md/trades/sim/BTC-USDT/", EPOCH, 2, 3, "gone")
    deliver(bridge, gap, live("trades", 4))
    assert seqs(client.take(), "trades.BTC") == [4]
    assert bridge.fanout.gaps == 1


def test_a_malformed_message_is_skipped_and_counted() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    bad = Message("live", BTC_PRICE, EPOCH, 2, BTC_PRICE + b"\0\x90")
    deliver(bridge, bad, warm("price"))
    (ack,) = client.take()
    assert ack["topics"][0]["state"] == "pending"
    deliver(bridge, Message("live", BTC_PRICE, EPOCH, 3, BTC_PRICE + b"\0\xc1"))
    deliver(bridge, live("price", 4))
    assert seqs(client.take()) == [4]
    assert bridge.fanout.malformed == 1


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


def test_a_bus_topic_lingers_and_is_then_dropped() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC"])
    deliver(bridge, live("price", 1), warm("price"))
    bridge.gone(client, T0_NS)
    bridge.sweep(T0_NS + 4 * SECOND_NS)
    assert BTC_PRICE in bus.wanted
    again = multi(bridge)
    assert types(again.say(action="subscribe", symbols=["BTC"])) == ["subscription", "price"]
    bridge.gone(again, T0_NS + 4 * SECOND_NS)
    bridge.sweep(T0_NS + 9 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]
    assert bridge.market.lines == {}


def test_a_client_that_leaves_while_waiting_leaves_nothing_behind() -> None:
    bridge, bus = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", symbols=["BTC", "ETH"])
    other = multi(bridge)
    other.say(action="subscribe", symbols=["SOL"])
    bridge.sweep(T0_NS + WAIT_NS)
    client.take()
    bridge.gone(client, T0_NS)
    bridge.gone(other, T0_NS)
    bridge.gone(other, T0_NS)
    bridge.sweep(T0_NS + 10 * SECOND_NS)
    assert bus.wanted == [b"sys/status/"]
    deliver(bridge, live("price", 1), warm("price"))
    assert client.got == []
    assert bridge.subscriptions.bus_topic_count == 0


moves = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 4)),
        st.tuples(st.just("subscribe"), st.booleans()),
        st.tuples(st.just("unsubscribe"), st.none()),
        st.tuples(st.just("warm"), st.none()),
        st.tuples(st.just("time"), st.integers(1, 12)),
    ),
    max_size=40,
)


@given(moves)
@settings(deadline=None)
def test_whatever_happens_when_a_client_sees_an_unbroken_stream(
    steps: list[tuple[str, Any]],
) -> None:
    """Snapshot, then every live message, none missing, none twice, none after unsubscribed."""
    bridge, bus = make_bridge()
    client = multi(bridge)
    count = itertools.count(1)
    last_seq, now_ns = 0, T0_NS
    next_expected: int | None = None
    is_subscribed = False
    for kind, value in steps:
        batch: list[Delivery] = []
        if kind == "live":
            for _ in range(value):
                last_seq = next(count)
                body = Price(float(last_seq))
                if BTC_PRICE in bus.wanted:
                    batch.append(live("price", last_seq, body=body, at_ns=now_ns))
            deliver(bridge, *batch, now_ns=now_ns)
        elif kind == "warm":
            line = bridge.market.lines.get(BTC_PRICE)
            if line is not None and not line.warm:  # the broker's answer: its last value, then end
                if last_seq:
                    body = Price(float(last_seq))
                    batch.append(live("price", last_seq, body=body, at_ns=now_ns))
                deliver(bridge, *batch, warm("price"), now_ns=now_ns)
        elif kind == "time":
            now_ns += value * SECOND_NS
            bridge.sweep(now_ns)
        elif not bridge.is_waiting(client):
            extra = {"snapshot": value} if kind == "subscribe" else {}
            client.got += client.say(now_ns, action=kind, topics=["price.BTC"], **extra)
        for message in client.take():
            if message["type"] == "subscription":
                is_subscribed = message["action"] == "subscribed"
                if not message.get("topics", [{}])[0].get("already"):
                    next_expected = None
            elif message["type"] == "price":
                assert is_subscribed, "data outside of a subscription"
                assert message["data"]["price"] == message["seq"]
                if message.get("snapshot"):
                    assert next_expected is None or message["seq"] == next_expected - 1
                else:
                    assert next_expected in (None, message["seq"])
                next_expected = message["seq"] + 1
            else:
                assert (message["type"], message["code"]) == ("error", "not_subscribed")


def test_trades_are_never_merged_or_dropped_in_a_batch() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    client.say(action="subscribe", topics=["trades.BTC"])
    deliver(bridge, warm("trades"))
    deliver(bridge, *[live("trades", n, body=Trade(1.0, 1.0)) for n in range(1, 257)])
    assert seqs(client.take(), "trades.BTC") == list(range(1, 257))
