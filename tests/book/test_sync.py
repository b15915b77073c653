"""The state machine joins any snapshot to any stream, or says that it cannot."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.book import BookSync, SyncAction, SyncState
from bus.book.sync import TRANSITIONS, SyncInput


@dataclass(frozen=True)
class Range:
    """A diff of nothing but its ids."""

    first_id: int
    last_id: int


def started(*diffs: tuple[int, int], buffer_limit: int = 100) -> BookSync[Range]:
    sync: BookSync[Range] = BookSync(buffer_limit)
    assert sync.start() is SyncAction.FETCH
    for diff in diffs:
        sync.on_diff(Range(*diff))
    return sync


def synced(last_update_id: int) -> BookSync[Range]:
    sync = started()
    assert sync.on_snapshot(last_update_id)[0] is SyncAction.LOAD
    return sync


def test_the_table_answers_every_input_in_every_state() -> None:
    assert set(TRANSITIONS) == set(itertools.product(SyncState, SyncInput))


def test_the_documented_vectors() -> None:
    sync = synced(160)
    assert sync.on_diff(Range(150, 155)) is SyncAction.IGNORE
    assert (sync.on_diff(Range(158, 162)), sync.last_id) == (SyncAction.APPLY, 162)
    assert (sync.on_diff(Range(163, 165)), sync.last_id) == (SyncAction.APPLY, 165)
    assert sync.on_diff(Range(167, 168)) is SyncAction.FETCH
    assert sync.state is SyncState.BUFFERING
    assert sync.buffered == 1


@pytest.mark.parametrize(
    ("buffered", "snapshot", "kept"),
    [
        ([(10, 12), (13, 15)], 12, [(13, 15)]),  # the common case: U == L + 1
        ([(10, 12), (13, 15)], 14, [(13, 15)]),  # L inside [U, u]
        ([(10, 12), (13, 15)], 9, [(10, 12), (13, 15)]),  # just not too old
        ([(10, 12), (13, 15)], 15, []),  # newer than the whole buffer
        ([(10, 12), (13, 15)], 99, []),
        ([], 5, []),  # nothing buffered at all
    ],
)
def test_a_snapshot_that_joins(
    buffered: list[tuple[int, int]], snapshot: int, kept: list[tuple[int, int]]
) -> None:
    sync = started(*buffered)
    action, diffs = sync.on_snapshot(snapshot)
    assert action is SyncAction.LOAD
    assert diffs == [Range(*diff) for diff in kept]
    assert sync.last_id == (kept[-1][1] if kept else snapshot)
    assert sync.state is SyncState.SYNCED
    assert sync.buffered == 0


def test_a_snapshot_older_than_the_buffer_is_fetched_again() -> None:
    sync = started((10, 12))
    assert sync.on_snapshot(8) == (SyncAction.FETCH, [])
    assert sync.state is SyncState.BUFFERING
    assert sync.buffered == 1  # step 3: keep buffering
    sync.on_diff(Range(13, 14))
    assert sync.on_snapshot(13) == (SyncAction.LOAD, [Range(13, 14)])
    assert sync.stats().snapshots_too_old == 1


def test_a_diff_equal_to_the_position_is_old() -> None:
    assert synced(160).on_diff(Range(155, 160)) is SyncAction.IGNORE


def test_after_a_snapshot_newer_than_all_the_next_diff_must_bridge() -> None:
    assert synced(20).on_diff(Range(22, 25)) is SyncAction.FETCH


def test_a_hole_inside_the_buffer_makes_the_older_part_void() -> None:
    sync = started((10, 12), (15, 17))
    assert sync.buffered == 1
    assert sync.on_snapshot(12)[0] is SyncAction.FETCH
    assert sync.on_snapshot(14) == (SyncAction.LOAD, [Range(15, 17)])
    assert sync.stats().buffer_gaps == 1


def test_repeats_are_not_buffered() -> None:
    sync = started((10, 12), (10, 12), (9, 11))
    assert sync.buffered == 1
    assert sync.stats().ignored == 2


def test_a_full_buffer_gives_up_its_oldest_and_then_refuses_an_older_snapshot() -> None:
    sync = started((1, 1), (2, 2), (3, 3), buffer_limit=2)
    assert sync.stats().buffer_dropped == 1
    assert sync.stats().buffer_high_water == 2
    assert sync.on_snapshot(0)[0] is SyncAction.FETCH
    assert sync.on_snapshot(1) == (SyncAction.LOAD, [Range(2, 2), Range(3, 3)])


def test_stopped_it_ignores_everything() -> None:
    sync = started((10, 12))
    assert sync.stop() is SyncAction.IGNORE
    assert sync.on_diff(Range(13, 15)) is SyncAction.IGNORE
    assert sync.on_snapshot(14) == (SyncAction.IGNORE, [])
    assert sync.start() is SyncAction.FETCH
    assert sync.buffered == 0


def test_a_snapshot_nobody_asked_for_changes_nothing() -> None:
    sync = synced(160)
    assert sync.on_snapshot(500) == (SyncAction.IGNORE, [])
    assert sync.last_id == 160


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BookSync(0)


def test_a_refresh_serves_on_and_joins_a_newer_snapshot() -> None:
    sync = synced(10)
    assert sync.refresh() is SyncAction.FETCH
    assert sync.on_diff(Range(11, 12)) is SyncAction.APPLY
    assert sync.on_diff(Range(11, 12)) is SyncAction.IGNORE
    assert sync.on_diff(Range(13, 14)) is SyncAction.APPLY
    assert (sync.state, sync.last_id, sync.buffered) == (SyncState.REFRESHING, 14, 2)
    assert sync.on_snapshot(12) == (SyncAction.LOAD, [Range(13, 14)])
    assert (sync.state, sync.last_id) == (SyncState.SYNCED, 14)


@pytest.mark.parametrize(("diffs", "snapshot"), [([], 9), ([(11, 12)], 9)])
def test_a_refresh_never_goes_back(diffs: list[tuple[int, int]], snapshot: int) -> None:
    sync = synced(10)
    sync.refresh()
    for diff in diffs:
        sync.on_diff(Range(*diff))
    before = sync.last_id
    assert sync.on_snapshot(snapshot) == (SyncAction.FETCH, [])
    assert (sync.state, sync.last_id) == (SyncState.REFRESHING, before)


def test_a_refresh_may_run_ahead_of_the_stream() -> None:
    sync = synced(10)
    sync.refresh()
    assert sync.on_snapshot(15) == (SyncAction.LOAD, [])
    assert sync.on_diff(Range(11, 14)) is SyncAction.IGNORE
    assert sync.on_diff(Range(15, 17)) is SyncAction.APPLY


def test_a_gap_while_refreshing_is_a_gap() -> None:
    sync = synced(10)
    sync.refresh()
    sync.on_diff(Range(11, 11))
    assert sync.on_diff(Range(13, 13)) is SyncAction.FETCH
    assert (sync.state, sync.buffered) == (SyncState.BUFFERING, 1)


def test_a_refresh_can_be_given_up() -> None:
    sync = synced(10)
    sync.refresh()
    sync.on_diff(Range(11, 11))
    assert sync.keep() is SyncAction.IGNORE
    assert (sync.state, sync.last_id, sync.buffered) == (SyncState.SYNCED, 11, 0)


def test_only_a_book_in_step_can_be_refreshed() -> None:
    sync = started((5, 6))
    assert sync.refresh() is SyncAction.IGNORE
    assert sync.keep() is SyncAction.IGNORE
    assert (sync.state, sync.buffered) == (SyncState.BUFFERING, 1)


@dataclass
class Reference:
    """The venue's steps once more, written plainly over sets of ids: what has been applied?"""

    position: int | None = None

    def replay(self, snapshot: int, diffs: list[Range]) -> int | None:
        """Position after a snapshot and diffs in order; None when ids are missing."""
        known = set(range(snapshot + 1))
        for diff in diffs:
            if diff.last_id in known:
                continue
            if diff.first_id - 1 not in known:
                return None
            known |= set(range(diff.first_id, diff.last_id + 1))
        return max(known)


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[Range], list[tuple[str, int]]]:
    """A venue's contiguous diffs, and what arrives of them: lost, repeated, swapped, snapshots."""
    widths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=25))
    venue: list[Range] = []
    position = 0
    for width in widths:
        venue.append(Range(position + 1, position + width))
        position += width
    arrives: list[tuple[str, int]] = []
    for index in range(len(venue)):
        fate = draw(
            st.sampled_from(["once"] * 6 + ["lost", "twice", "snapshot", "snapshot", "refresh"])
        )
        if fate != "lost":
            arrives.append(("diff", index))
        if fate == "twice":
            arrives.append(("diff", index))
        if fate == "refresh":
            arrives.append(("refresh", 0))
        if fate == "snapshot":
            behind = draw(st.integers(0, 6))
            arrives.append(("snapshot", max(0, venue[index].last_id - behind)))
    if len(arrives) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(arrives) - 2))
        arrives[at], arrives[at + 1] = arrives[at + 1], arrives[at]
    return venue, arrives


@settings(max_examples=300)
@given(traffic())
def test_whatever_arrives_a_synced_book_has_missed_nothing(
    case: tuple[list[Range], list[tuple[str, int]]],
) -> None:
    venue, arrives = case
    sync: BookSync[Range] = BookSync(buffer_limit=50)
    sync.start()
    snapshot = 0
    applied: list[Range] = []
    for kind, number in arrives:
        if kind == "snapshot":
            action, kept = sync.on_snapshot(number)
            if action is SyncAction.LOAD:
                snapshot, applied = number, list(kept)
        elif kind == "refresh":
            sync.refresh()
        elif sync.on_diff(venue[number]) is SyncAction.APPLY:
            applied.append(venue[number])
        if sync.state in (SyncState.SYNCED, SyncState.REFRESHING):
            assert Reference().replay(snapshot, applied) == sync.last_id


@given(traffic())
def test_a_fresh_snapshot_and_an_undisturbed_stream_always_sync(
    case: tuple[list[Range], list[tuple[str, int]]],
) -> None:
    venue, arrives = case
    sync: BookSync[Range] = BookSync(buffer_limit=50)
    sync.start()
    for kind, number in arrives:
        if kind == "diff":
            sync.on_diff(venue[number])
    end = venue[-1].last_id
    sync.on_diff(Range(end + 1, end + 1))
    if sync.state is SyncState.BUFFERING:
        assert sync.on_snapshot(end)[0] is SyncAction.LOAD
    assert sync.on_diff(Range(end + 2, end + 2)) is SyncAction.APPLY
