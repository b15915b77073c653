"""The requests of one Coinbase connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.coinbase.session import MAX_MESSAGES_PER_S, Reply, Session

PRODUCTS = ("ETH-USD", "ETH-EUR", "ETH-BTC", "BTC-USD")


def ask(session: Session, **request: Any) -> tuple[Reply, dict[str, Any]]:
    reply = session.receive(json.dumps(request))
    return reply, json.loads(reply.message)


def test_the_documented_exchange() -> None:
    """docs.cdp.coinbase.com: Exchange WebSocket overview, Subscribe (its own sample)."""
    session = Session(PRODUCTS)
    reply = session.receive(
        '{"type":"subscribe","product_ids":["ETH-USD","ETH-EUR"],"channels":["level2_batch",'
        '"heartbeat",{"name":"ticker","product_ids":["ETH-BTC","ETH-USD"]}]}'
    )
    assert json.loads(reply.message) == {
        "type": "subscriptions",
        "channels": [
            {"name": "level2", "product_ids": ["ETH-USD", "ETH-EUR"]},
            {"name": "heartbeat", "product_ids": ["ETH-USD", "ETH-EUR"]},
            {"name": "ticker", "product_ids": ["ETH-USD", "ETH-EUR", "ETH-BTC"]},
        ],
    }
    assert reply.added[0] == ("level2_batch", "ETH-USD")
    assert len(reply.added) == 7


def test_subscribing_twice_adds_nothing() -> None:
    session = Session(PRODUCTS)
    ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["ticker"])
    reply, said = ask(session, type="subscribe", product_ids=["BTC-USD"], channels=["ticker"])
    assert reply.added == ()
    assert said["channels"] == [{"name": "ticker", "product_ids": ["BTC-USD"]}]


def test_unsubscribing_from_products_and_from_whole_channels() -> None:
    session = Session(PRODUCTS)
    channels = ["ticker", "heartbeat"]
    ask(session, type="subscribe", product_ids=["ETH-USD", "ETH-EUR"], channels=channels)
    reply, said = ask(session, type="unsubscribe", product_ids=["ETH-USD"], channels=["ticker"])
    assert reply.removed == (("ticker", "ETH-USD"),)
    assert said["channels"][0] == {"name": "ticker", "product_ids": ["ETH-EUR"]}
    reply, said = ask(session, type="unsubscribe", channels=["heartbeat"])
    assert reply.removed == (("heartbeat", "ETH-USD"), ("heartbeat", "ETH-EUR"))
    assert [one["name"] for one in said["channels"]] == ["ticker"]


@pytest.mark.parametrize(
    ("request_", "message", "reason"),
    [
        ({"type": "subscribe", "product_ids": ["BTC-USD", "NO-PE"], "channels": ["ticker"]},
         "Failed to subscribe", "NO-PE is not a valid product"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["tocker"]},
         "Failed to subscribe", "tocker is not a valid channel"),
        ({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]},
         "Failed to subscribe", "level2 channel requires authentication"),
        ({"type": "subscribe", "channels": ["ticker"]}, "Failed to subscribe",
         "ticker needs product_ids"),
        ({"type": "hello"}, "Type has to be either subscribe or unsubscribe", None),
    ],
)  # fmt: skip
def test_a_wrong_request_changes_nothing(
    request_: dict[str, Any], message: str, reason: str | None
) -> None:
    session = Session(PRODUCTS)
    reply, said = ask(session, **request_)
    assert (said["type"], said["message"], said.get("reason")) == ("error", message, reason)
    assert (reply.added, session.channels) == ((), {})


@given(st.one_of(st.text(), st.binary(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "channels", "product_ids", "name"]), inner, max_size=4),
).map(json.dumps)))  # fmt: skip
def test_whatever_a_client_sends_is_answered(text: str | bytes) -> None:
    reply = Session(PRODUCTS).receive(text)
    assert json.loads(reply.message)["type"] in ("error", "subscriptions")


def test_the_101st_message_within_a_second_is_one_too_many() -> None:
    session = Session(PRODUCTS)
    assert all(session.count_message(number) for number in range(MAX_MESSAGES_PER_S))
    assert not session.count_message(999_999_999)
    assert session.count_message(1_000_000_000)
