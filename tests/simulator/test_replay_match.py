"""Control messages taken apart, and REST calls compared, whatever the venue."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.simulator.replay_match import atoms, likeness


@pytest.mark.parametrize(
    "message",
    [
        {"method": "SUBSCRIBE", "params": ["a@trade", "b@trade"], "id": 1},
        {"type": "subscribe", "product_ids": ["A", "B"], "channel": "level2", "jwt": "x"},
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["A", "B"], "depth": 10}},
    ],
)
def test_a_list_is_taken_apart_and_the_rest_belongs_to_each(message: dict[str, object]) -> None:
    assert len(atoms(json.dumps(message))) == 2


def test_one_message_for_two_things_asks_for_what_two_messages_do() -> None:
    both = atoms('{"method":"SUBSCRIBE","params":["a","b"],"id":1}')
    first = atoms('{"method":"SUBSCRIBE","params":["a"],"id":7}')
    second = atoms('{"params":["b"],"id":8,"method":"SUBSCRIBE"}')
    assert both == first | second
    assert not both & atoms('{"method":"UNSUBSCRIBE","params":["a"],"id":1}')


def test_a_message_without_lists_is_one_thing() -> None:
    assert len(atoms('{"type":"subscribe","symbol":"AAPL"}')) == 1
    assert atoms('{"type":"subscribe","symbol":"AAPL"}') != atoms(
        '{"type":"subscribe","symbol":"MSFT"}'
    )


def test_a_hidden_token_does_not_tell_two_messages_apart() -> None:
    assert atoms('{"type":"subscribe","symbol":"A","token":"***"}') == atoms(
        '{"type":"subscribe","symbol":"A","token":"real"}'
    )


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_any_message_gives_at_least_one_atom(message: bytes | str) -> None:
    assert atoms(message)


def test_deep_nesting_is_no_danger() -> None:
    assert atoms("[" * 100_000)
    assert atoms("[" * 500 + "]" * 500)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"symbol": "A"}, {"symbol": "A"}, 2),
        ({"symbol": "A"}, {"symbol": "B"}, None),
        ({"symbol": "A"}, {}, None),
        ({"symbol": "A", "from": "1"}, {"symbol": "A", "from": "2"}, 2),
        ({"category": "general", "minId": "9"}, {"category": "general", "minId": "0"}, 2),
        ({"token": "***"}, {}, 1),
    ],
)
def test_calls_are_alike_but_for_dates_and_positions(
    one: dict[str, str], other: dict[str, str], alike: int | None
) -> None:
    assert likeness("/p", one, "/p", other) == alike
    assert likeness("/p", other, "/p", one) == alike
    assert likeness("/p", one, "/q", one) is None
