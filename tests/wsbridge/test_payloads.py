"""What clients read of each stream, field by field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config.venues import CLIENT_STREAMS
from bus.model import Body, Price, Quote, Tick, Ticker, Trade
from bus.model.topic import Topic
from bus.wsbridge.messages import encode, epoch_text, rfc3339
from bus.wsbridge.payloads import message_of
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import BODIES, EPOCH, T0_NS, settings_of
from tests.wsbridge.schema import check_message

DIRECTORY = Directory(settings_of())


def sent(stream: str, body: Body | None = None, **options: Any) -> dict[str, Any]:
    name = "crypto" if stream == "news" else "BTC"
    topic = DIRECTORY.resolve(stream, name)
    assert isinstance(topic, MarketTopic)
    tick = Tick(
        Topic.md(stream, "sim", "BTC-USDT"),
        EPOCH,
        7,
        options.pop("venue_ts_ns", T0_NS - 2_000_000),
        T0_NS,
        T0_NS + 340_000,
        body or BODIES[stream],
    )
    message: dict[str, Any] = msgspec.json.decode(encode(message_of(tick, topic, **options)))
    return message


@pytest.mark.parametrize("stream", CLIENT_STREAMS)
def test_every_stream_has_a_payload_that_the_schema_knows(stream: str) -> None:
    check_message(sent(stream))


def test_a_price_has_the_legacy_keys_and_the_envelope() -> None:
    assert sent("price") == {
        "type": "price",
        "data": {
            "symbol": "BTC",
            "price": 50000.5,
            "change": 250.3,
            "change_percent": 0.5,
            "volume": 1000000.0,
            "source": "sim",
            "timestamp": "2026-01-28T10:29:59.998000Z",
            "event_us": 1769596199998000,
            "recv_us": 1769596200000000,
        },
        "timestamp": "2026-01-28T10:30:00.000340Z",
        "topic": "price.BTC",
        "symbol": "BTC",
        "source": "sim",
        "seq": 7,
    }


def test_unknown_figures_of_a_price_are_null_and_present() -> None:
    data = sent("price", Price(1.5))["data"]
    assert (data["change"], data["change_percent"], data["volume"]) == (None, None, None)


def test_a_trade_tells_who_was_the_maker() -> None:
    message = sent("trades")
    assert message["type"] == "trade"
    assert message["topic"] == "trades.BTC"
    data = message["data"]
    assert data["quantity"] == 0.5
    assert (data["side"], data["is_buyer_maker"], data["trade_id"]) == ("buy", False, "991")
    sold = sent("trades", Trade(1.0, 1.0, "sell"))["data"]
    assert sold["is_buyer_maker"] is True
    assert "trade_id" not in sold
    unknown = sent("trades", Trade(1.0, 1.0))["data"]
    assert (unknown["side"], unknown["is_buyer_maker"]) == (None, None)


def test_an_order_book_is_cut_to_the_depth_granted() -> None:
    data = sent("orderbook", depth=1)["data"]
    assert data["bids"] == [[49990.0, 1.0]]
    assert data["asks"] == [[50010.0, 1.0]]
    assert (data["depth"], data["last_update_id"]) == (1, 123456)


def test_a_quote_has_both_sides() -> None:
    data = sent("quote")["data"]
    assert [data[k] for k in ("bid", "bid_size", "ask", "ask_size", "update_id")] == [
        50000.0, 1.2, 50001.0, 0.8, 77,
    ]  # fmt: skip
    assert "update_id" not in sent("quote", Quote(None, None, 1.0, 1.0))["data"]


def test_a_ticker_has_the_rolling_figures() -> None:
    data = sent("ticker", Ticker(1.0, open_ts_ns=T0_NS, close_ts_ns=T0_NS + 1000))["data"]
    assert (data["price"], data["open"], data["trades"]) == (1.0, None, None)
    assert (data["open_us"], data["close_us"]) == (T0_NS // 1000, T0_NS // 1000 + 1)


def test_news_has_no_symbol_at_the_top_but_its_category_inside() -> None:
    message = sent("news")
    assert (message["type"], message["topic"]) == ("news", "news.crypto")
    assert "symbol" not in message
    data = message["data"]
    assert (data["category"], data["symbols"], data["image"]) == ("crypto", ["BTC"], None)
    assert data["published_at"] == data["timestamp"] == "2026-01-28T10:30:00.000000Z"


def test_without_a_venue_time_the_time_of_receipt_stands_in() -> None:
    data = sent("price", venue_ts_ns=None)["data"]
    assert data["timestamp"] == "2026-01-28T10:30:00.000000Z"
    assert "event_us" not in data


def test_marks_are_absent_unless_they_hold() -> None:
    plain = sent("price")
    assert not {"snapshot", "stale", "age_ms", "recovered", "epoch"} & set(plain)
    marked = sent("price", snapshot=True, stale_age_ms=61000)
    assert (marked["snapshot"], marked["stale"], marked["age_ms"]) == (True, True, 61000)
    assert marked["epoch"] == epoch_text(EPOCH)
    assert sent("trades", recovered=True)["recovered"] is True


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_the_way_to_the_client(price: float) -> None:
    assert sent("price", Price(price))["data"]["price"] == price


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_are_utc_with_six_decimals(ts_ns: int) -> None:
    text = rfc3339(ts_ns)
    assert len(text) == 27
    assert text.endswith("Z")
    assert text[19] == "."
    assert int(text[20:26]) == ts_ns // 1000 % 1_000_000


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_epochs_are_short_and_different_when_they_differ(one: int, other: int) -> None:
    assert 1 <= len(epoch_text(one)) <= 13
    assert (epoch_text(one) == epoch_text(other)) is (one == other)
