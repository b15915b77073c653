"""When the garbage collector looks at everything."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from bus.wsbridge.garbage import FEW_CLIENTS, FEW_EVERY_NS, MOST_ENDED, MOST_NS, Garbage


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    before = gc.get_threshold()
    one = Garbage()
    one.take_over(0)
    yield one
    one.give_back()
    one.give_back()
    assert gc.get_threshold() == before


def outlive() -> None:
    """Let something outlive the young generations, as far as the collector knows."""
    gc.collect(1)
    assert gc.get_count()[2] > 0


def test_python_decides_until_it_is_taken_over() -> None:
    one = Garbage()
    outlive()
    assert not one.tend(0, 10 * MOST_NS)
    one.give_back()


def test_a_crowd_makes_no_full_collection(garbage: Garbage) -> None:
    full = gc.get_stats()[2]["collections"]
    kept: list[list[list[object]]] = [[[]] for _ in range(200_000)]
    assert gc.get_stats()[2]["collections"] == full
    assert gc.get_stats()[1]["collections"] > 0, "what is new is looked at as ever"
    del kept


def test_few_clients_are_stopped_once_a_minute_and_many_hardly_ever(garbage: Garbage) -> None:
    outlive()
    assert not garbage.tend(FEW_CLIENTS, FEW_EVERY_NS - 1)
    assert garbage.tend(FEW_CLIENTS, FEW_EVERY_NS)
    assert not garbage.tend(FEW_CLIENTS, 2 * FEW_EVERY_NS), "nothing has come since"
    outlive()
    assert not garbage.tend(FEW_CLIENTS + 1, 10 * FEW_EVERY_NS)
    assert garbage.tend(FEW_CLIENTS + 1, FEW_EVERY_NS + MOST_NS)
    assert garbage.collections == 2


def test_what_many_that_have_gone_may_have_left_behind_has_a_bound(garbage: Garbage) -> None:
    outlive()
    for _ in range(MOST_ENDED):
        assert not garbage.tend(10_000, 1)
        garbage.ended()
    assert garbage.tend(10_000, 1)
    assert not garbage.tend(10_000, 1)
