"""Which client stands for which captured connection."""

from __future__ import annotations

import asyncio
from typing import cast

from bus.simulator.clients import Client
from bus.simulator.replay_seats import (
    Call,
    Line,
    Seat,
    call_for,
    find_twins,
    free_seat,
    shared_seat,
)
from tests.simulator.captures import exchange


def seat(*wants: str, lines: set[int] | None = None, gone: bool = False) -> Seat:
    return Seat(cast(Client, object()), set(wants), lines=lines or set(), gone=gone)


def test_the_client_that_asked_for_most_of_it_is_taken() -> None:
    little, much = seat("a"), seat("a", "b")
    assert free_seat([little, much], Line(wants={"a", "b", "c"})) is much


def test_clients_that_ask_for_other_things_are_gone_or_occupied_are_not_taken() -> None:
    line = Line(wants={"a"})
    assert free_seat([seat("b"), seat("a", lines={1}), seat("a", gone=True), seat()], line) is None


def test_a_connection_that_asked_for_nothing_takes_any_free_client() -> None:
    free = seat("x")
    assert free_seat([seat(lines={1}), free], Line()) is free
    assert free_seat([], Line()) is None


def test_a_successor_shares_the_client_of_the_one_most_like_it() -> None:
    first, second = seat(), seat()
    lines = {
        1: Line(wants={"a", "b"}, seat=first),
        2: Line(wants={"b", "c", "d"}, seat=second),
        3: Line(wants={"c", "d"}),
        4: Line(wants={"z"}),
    }
    assert shared_seat(lines, 3) is second
    assert shared_seat(lines, 4) is None
    second.gone = True
    assert shared_seat(lines, 3) is None


def test_connections_that_bring_the_same_are_twins() -> None:
    old, new, other = Line(wants={"a", "b"}), Line(wants={"b"}), Line(wants={"c"})
    assert find_twins({1: old, 2: other, 3: new, 4: Line()}) == {1: [new], 3: [old]}


async def test_a_captured_answer_goes_to_the_call_most_like_it_and_of_equal_ones_the_first() -> (
    None
):
    loop = asyncio.get_running_loop()
    calls = [
        Call("/news", query, loop.create_future())
        for query in (
            {"category": "forex", "minId": "0"},
            {"category": "general", "minId": "5"},
            {"category": "general", "minId": "7"},
            {"category": "general", "minId": "7"},
        )
    ]
    assert call_for(calls, exchange("/news", b"", category="general", minId="7")) is calls[2]
    assert call_for(calls, exchange("/news", b"", category="general", minId="9")) is calls[1]
    assert call_for(calls, exchange("/news", b"", category="merger", minId="0")) is None
