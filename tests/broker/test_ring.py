"""What is kept of one topic, and whether it connects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.broker.ring import Rejected, Ring, follows
from bus.model import StreamKind
from bus.wire.codec import position, split
from tests.broker.frames import (
    BEGAN_NS,
    DEPTH,
    EPOCH,
    PRICE,
    TRADES,
    depth,
    price,
    trade,
)

S = 1_000_000_000


def ring(kind: StreamKind = StreamKind.EVENT, size: int = 10) -> Ring:
    key = {StreamKind.EVENT: TRADES, StreamKind.STATE: PRICE, StreamKind.DELTA: DEPTH}[kind].key
    return Ring(key, kind, 1 if kind is StreamKind.STATE else size, Rejected())


def filled(made: Ring, frames: list[bytes], *, settle_every: int = 1) -> Ring:
    for index, frame in enumerate(frames):
        made.append(frame)
        if index % settle_every == 0:
            made.settle()
    return made


def seqs(frames: list[bytes]) -> list[int]:
    return [position(split(frame)[1])[1] for frame in frames]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 15))
def test_an_event_ring_holds_the_newest_frames_however_often_it_settles(
    count: int, size: int, settle_every: int
) -> None:
    made = filled(
        ring(size=size), [trade(n) for n in range(1, count + 1)], settle_every=settle_every
    )
    assert made.held() == [trade(n) for n in range(max(1, count - size + 1), count + 1)]
    assert len(made) <= size + settle_every


def test_a_state_ring_holds_the_last_frame() -> None:
    made = filled(ring(StreamKind.STATE), [price(n) for n in range(1, 9)], settle_every=3)
    assert made.snapshot() == [price(8)]
    assert len(made) == 1


def test_a_straggler_of_a_replaced_publisher_does_not_replace_a_newer_state() -> None:
    made = ring(StreamKind.STATE)
    filled(made, [price(1), price(2)])
    newer = price(1, epoch=EPOCH + 1)
    for frame in (newer, price(3)):  # both come between two looks
        made.append(frame)
    assert made.snapshot() == [newer]
    made.append(price(4))
    assert made.snapshot() == [newer]


@given(st.integers(0, 30))
def test_a_state_cut_off_anywhere_before_its_seq_does_not_replace_a_whole_one(cut: int) -> None:
    made = filled(ring(StreamKind.STATE), [price(1), price(2)])
    whole = price(3)
    made.append(whole[: len(PRICE.key) + 1 + min(cut, 11)])  # tag, schema, epoch: 11 bytes
    assert made.snapshot() == [price(2)]


def test_a_state_ring_without_any_whole_frame_is_empty_until_one_comes() -> None:
    made = ring(StreamKind.STATE)
    made.append(price(1)[: len(PRICE.key) + 12])
    assert made.snapshot() == []
    made.settle()
    made.append(price(2))
    assert made.snapshot() == [price(2)]


def test_garbage_does_not_replace_a_state() -> None:
    made = filled(ring(StreamKind.STATE), [price(1), PRICE.key + b"\0junk"], settle_every=9)
    assert made.snapshot() == [price(1)]
    assert made._rejected.malformed == 1


@pytest.mark.parametrize("kind", list(StreamKind))
def test_a_replaced_publisher_does_not_get_in_again(kind: StreamKind) -> None:
    make = {StreamKind.EVENT: trade, StreamKind.STATE: price, StreamKind.DELTA: depth}[kind]
    made = filled(ring(kind), [make(1), make(1, epoch=EPOCH + 1), make(2)])
    assert made.held()[-1] == make(1, epoch=EPOCH + 1)
    assert made._rejected.outdated == 1
    assert made.epoch == EPOCH + 1


def test_an_epoch_in_another_encoding_is_kept_too() -> None:
    made = filled(ring(), [trade(n, epoch=7) for n in (1, 2)] + [trade(1)])
    assert made.held() == [trade(1, epoch=7), trade(2, epoch=7), trade(1)]


def test_a_frame_that_holds_another_head_inside_is_kept_whole() -> None:
    inner = trade(3)
    odd = trade(2) + inner
    made = filled(ring(), [trade(1), odd, inner], settle_every=9)
    assert made.held() == [trade(1), odd, inner]


# --- replay -------------------------------------------------------------------------------------


def test_replay_returns_everything_after_the_position() -> None:
    made = filled(ring(), [trade(n) for n in range(1, 6)])
    assert made.replay(EPOCH, 2) == [trade(3), trade(4), trade(5)]
    assert made.replay(EPOCH, 0) == [trade(n) for n in range(1, 6)]


@pytest.mark.parametrize("seq", [5, 6, 99])
def test_replay_is_empty_when_nothing_is_newer(seq: int) -> None:
    assert filled(ring(), [trade(n) for n in range(1, 6)]).replay(EPOCH, seq) == []


def test_replay_refuses_a_position_that_was_pushed_out() -> None:
    made = filled(ring(size=3), [trade(n) for n in range(1, 11)])
    assert made.replay(EPOCH, 6) == (EPOCH, 8)
    assert made.replay(EPOCH, 7) == [trade(8), trade(9), trade(10)]


def test_replay_refuses_over_a_hole_and_names_where_it_is_whole_again() -> None:
    made = filled(ring(), [trade(n) for n in (1, 2, 5, 6)])
    assert made.replay(EPOCH, 1) == (EPOCH, 5)
    assert made.replay(EPOCH, 4) == [trade(5), trade(6)]


def test_replay_goes_over_an_epoch_change_it_has_seen() -> None:
    later = EPOCH + 1
    made = filled(ring(), [trade(1), trade(2), trade(1, epoch=later), trade(2, epoch=later)])
    assert made.replay(EPOCH, 1) == [trade(2), trade(1, epoch=later), trade(2, epoch=later)]
    assert made.replay(EPOCH, 2) == [trade(1, epoch=later), trade(2, epoch=later)]
    assert made.replay(later, 0) == [trade(1, epoch=later), trade(2, epoch=later)]


def test_replay_refuses_when_the_end_of_an_epoch_is_not_known() -> None:
    later = EPOCH + 1
    made = filled(ring(), [trade(1, epoch=later)])
    assert made.replay(EPOCH, 50) == (later, 1)
    made = filled(ring(), [trade(1), trade(1, epoch=later)])
    assert made.replay(EPOCH, 50) == (later, 1)


def test_replay_passes_over_damaged_frames() -> None:
    damaged = trade(3)[: trade(3).index(b"\0") + 12]
    made = filled(ring(), [trade(1), damaged, trade(2)])
    assert made.replay(EPOCH, 0) == [trade(1), trade(2)]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20, unique=True).map(sorted),
    st.integers(0, 31),
)
def test_replay_is_exact_or_refused_never_partial(held: list[int], after: int) -> None:
    answer = filled(ring(size=30), [trade(n) for n in held]).replay(EPOCH, after)
    wanted = [n for n in held if n > after]
    if isinstance(answer, tuple):
        assert wanted
        oldest = answer[1]
        assert [n for n in wanted if n >= oldest] == list(range(oldest, held[-1] + 1))
    else:
        assert seqs(answer) == wanted
        assert wanted == [] or wanted == list(range(after + 1, held[-1] + 1))


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ((1, 1), (1, 2), True),
        ((1, 1), (1, 3), False),
        ((1, 9), (2, 1), True),
        ((1, 9), (2, 2), False),
        ((2, 1), (1, 2), False),
    ],
)
def test_what_follows_what(
    earlier: tuple[int, int], later: tuple[int, int], expected: bool
) -> None:
    assert follows(earlier, later) is expected


# --- depth --------------------------------------------------------------------------------------


def test_a_late_joiner_gets_the_last_whole_book_and_what_follows() -> None:
    made = filled(
        ring(StreamKind.DELTA), [depth(n, whole=n in (1, 4)) for n in range(1, 7)], settle_every=4
    )
    assert made.snapshot() == [depth(4, whole=True), depth(5), depth(6)]


def test_the_stretch_before_the_last_whole_book_stays_for_repairs() -> None:
    made = filled(
        ring(StreamKind.DELTA, size=100), [depth(n, whole=n % 10 == 1) for n in range(1, 36)]
    )
    assert made.replay(EPOCH, 20) == [depth(n, whole=n % 10 == 1) for n in range(21, 36)]
    assert made.replay(EPOCH, 19) == (EPOCH, 21)
    assert len(made) == 15


def test_without_a_whole_book_in_reach_a_late_joiner_gets_nothing() -> None:
    made = filled(ring(StreamKind.DELTA, size=5), [depth(n, whole=n == 1) for n in range(1, 9)])
    assert made.snapshot() == []
    assert seqs(made.held()) == [4, 5, 6, 7, 8]


def test_a_hole_behind_the_whole_book_makes_it_useless() -> None:
    made = filled(ring(StreamKind.DELTA), [depth(1, whole=True), depth(2), depth(4)])
    assert made.snapshot() == []
    made.append(depth(5, whole=True))
    assert made.snapshot() == [depth(5, whole=True)]


def test_a_new_epoch_needs_a_whole_book_of_its_own() -> None:
    made = filled(ring(StreamKind.DELTA), [depth(1, whole=True), depth(1, epoch=EPOCH + 1)])
    assert made.snapshot() == []


def test_a_longer_depth_array_is_decoded() -> None:
    head, _, payload = depth(1, whole=True).partition(b"\0")
    longer = head + b"\0\x9c" + payload[1:] + b"\x01"
    assert filled(ring(StreamKind.DELTA), [longer]).snapshot() == [longer]


# --- room ---------------------------------------------------------------------------------------


def test_old_trades_go_but_the_last_stays() -> None:
    made = filled(ring(size=50), [trade(n, at_s=n) for n in range(1, 21)], settle_every=6)
    assert made.forget_older_than(BEGAN_NS + 12 * S) == 11
    assert seqs(made.held()) == list(range(12, 21))
    assert made.forget_older_than(BEGAN_NS + 99 * S) == 8
    assert made.held() == [trade(20, at_s=20)]


def test_making_room_drops_the_older_half_but_never_the_last() -> None:
    made = filled(ring(size=50), [trade(n) for n in range(1, 21)], settle_every=6)
    assert made.forget_oldest_half() == 10
    assert seqs(made.held()) == list(range(11, 21))
    for _ in range(9):
        made.forget_oldest_half()
    assert made.held() == [trade(20)]


def test_memory_is_measured() -> None:
    made = ring()
    assert made.measure() == 0
    filled(made, [trade(1), trade(2)], settle_every=9)
    assert made.measure() >= 2 * len(trade(1))
