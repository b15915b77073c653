"""Rules 1 to 4: what is next, what is a duplicate, what is a hole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.client.deliveries import EpochChanged, GapFound, Message
from bus.client.positions import Held, Positions, TopicState
from bus.model import StreamKind


def topic(kind: StreamKind, at: tuple[int, int] | None = None) -> TopicState:
    state = TopicState(b"md/x/y/z/", kind)
    if at is not None:
        state.epoch, state.seq = at
    return state


def held(state: TopicState, epoch: int, seq: int) -> Held:
    return epoch, seq, "live", b"frame", state


@pytest.mark.parametrize(
    ("kind", "at", "comes", "accepted", "stands"),
    [
        (StreamKind.EVENT, None, (5, 7), True, (5, 7)),
        (StreamKind.EVENT, (5, 7), (5, 8), True, (5, 8)),
        (StreamKind.EVENT, (5, 7), (5, 7), True, (5, 7)),
        (StreamKind.EVENT, (5, 7), (5, 9), False, (5, 7)),
        (StreamKind.STATE, (5, 7), (5, 9), True, (5, 9)),
        (StreamKind.EVENT, (5, 7), (4, 99), True, (5, 7)),
        (StreamKind.EVENT, (5, 7), (6, 1), True, (6, 1)),
        (StreamKind.EVENT, (5, 7), (6, 2), False, (6, 0)),
        (StreamKind.STATE, (5, 7), (6, 2), True, (6, 2)),
        (StreamKind.DELTA, (5, 7), (5, 9), False, (5, 7)),
    ],
)
def test_where_a_topic_stands_after_a_message(
    kind: StreamKind,
    at: tuple[int, int] | None,
    comes: tuple[int, int],
    accepted: bool,
    stands: tuple[int, int],
) -> None:
    state = topic(kind, at)
    assert Positions().accept(held(state, *comes)) is accepted
    assert (state.epoch, state.seq) == stands


def test_a_new_epoch_is_reported_before_its_message() -> None:
    positions, state = Positions(), topic(StreamKind.STATE, (5, 7))
    positions.accept(held(state, 6, 3))
    assert positions.out == [
        EpochChanged(state.key, 5, 6),
        Message("live", state.key, 6, 3, b"frame"),
    ]


def test_skipping_reports_exactly_what_is_left_out() -> None:
    positions, state = Positions(), topic(StreamKind.EVENT, (5, 7))
    positions.skip_to(state, 5, 11, "gone")
    assert positions.out == [GapFound(state.key, 5, 8, 10, "gone")]
    assert positions.accept(held(state, 5, 11))
    assert (positions.gaps, positions.lost) == (1, 3)


def test_skipping_to_what_is_next_reports_nothing() -> None:
    positions, state = Positions(), topic(StreamKind.EVENT, (5, 7))
    positions.skip_to(state, 5, 8, "gone")
    positions.skip_to(state, 4, 99, "gone")
    assert positions.out == []


def test_a_replay_must_connect() -> None:
    positions, state = Positions(), topic(StreamKind.EVENT, (5, 7))
    assert not positions.accept_replayed(held(state, 5, 9))
    assert positions.accept_replayed(held(state, 5, 7)), "a duplicate does no harm"
    assert positions.accept_replayed(held(state, 5, 8))
    assert not positions.accept_replayed(held(state, 6, 2))
    assert positions.accept_replayed(held(state, 6, 1))
    assert [d.kind for d in positions.out] == ["live", "epoch", "live"]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), max_size=40))
def test_what_is_delivered_only_grows(messages: list[tuple[int, int]]) -> None:
    positions, state = Positions(), topic(StreamKind.STATE)
    for epoch, seq in messages:
        positions.accept(held(state, epoch, seq))
    delivered = [(d.epoch, d.seq) for d in positions.out if isinstance(d, Message)]
    assert delivered == sorted(set(delivered))
    assert positions.messages + positions.duplicates == len(messages)
