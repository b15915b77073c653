"""Repeats are told among the last ids, and no more than those are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.recent import RecentIds


@given(st.lists(st.integers(0, 20)), st.integers(1, 8))
def test_it_agrees_with_a_plain_list(ids: list[int], limit: int) -> None:
    recent: RecentIds[int] = RecentIds(limit)
    kept: list[int] = []
    for one in ids:
        assert recent.is_new(one) == (one not in kept)
        if one not in kept:
            kept = [*kept, one][-limit:]


def test_repeats_are_counted_and_everything_can_be_forgotten() -> None:
    recent: RecentIds[str] = RecentIds()
    assert [recent.is_new(one) for one in ("a", "a", "b")] == [True, False, True]
    assert recent.repeats == 1
    recent.clear()
    assert recent.is_new("a")


def test_an_id_can_be_looked_for_and_forgotten() -> None:
    recent: RecentIds[int] = RecentIds(2)
    recent.is_new(1)
    assert 1 in recent
    recent.discard(1)
    recent.discard(5)
    assert 1 not in recent
    assert recent.is_new(1)
