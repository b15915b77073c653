"""Names, messages and weights as documented."""

from __future__ import annotations

import json

import pytest

from bus.feeds.binance.endpoints import control_messages, depth_weight, stream_name


def test_symbols_in_stream_names_are_lower_case() -> None:
    assert stream_name("BTCUSDT", "depth@100ms") == "btcusdt@depth@100ms"


def test_many_names_go_into_few_messages_with_ids_of_their_own() -> None:
    names = [f"s{number}@trade" for number in range(250)]
    messages = [json.loads(text) for text in control_messages("SUBSCRIBE", names, 7)]
    assert [message["id"] for message in messages] == [7, 8, 9]
    assert [name for message in messages for name in message["params"]] == names
    assert {message["method"] for message in messages} == {"SUBSCRIBE"}
    assert control_messages("SUBSCRIBE", [], 1) == []


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)],
)
def test_the_weight_of_a_snapshot(limit: int, weight: int) -> None:
    assert depth_weight(limit) == weight
