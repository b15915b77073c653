"""Deliveries become typed events."""

from __future__ import annotations

import pytest

from bus.client.deliveries import Delivery, EpochChanged, GapFound, Message, SnapshotEnded
from bus.client.events import Decoding, EpochChange, Event, Gap, SnapshotEnd, Update
from bus.wire.codec import decode_frame
from tests.broker.frames import EPOCH, PRICE, TRADES, price, trade


@pytest.mark.parametrize(
    ("delivery", "event"),
    [
        (
            Message("replay", TRADES.key, EPOCH, 3, trade(3)),
            Update(decode_frame(trade(3)), "replay"),
        ),
        (GapFound(TRADES.key, EPOCH, 2, 5, "gone"), Gap(TRADES, EPOCH, 2, 5, "gone")),
        (EpochChanged(TRADES.key, 1, 2), EpochChange(TRADES, 1, 2)),
        (SnapshotEnded(b"md/", 3, 1), SnapshotEnd("md/", 3, 1)),
    ],
)
def test_each_delivery_has_its_event(delivery: Delivery, event: Event) -> None:
    assert Decoding().event(delivery) == event


def test_an_event_that_cannot_be_decoded_is_a_gap_of_one() -> None:
    decoding = Decoding()
    broken = Message("live", TRADES.key, EPOCH, 9, trade(9)[:-9])
    assert decoding.event(broken) == Gap(TRADES, EPOCH, 9, 9, "undecodable")
    assert decoding.undecodable == 1


def test_a_state_that_cannot_be_decoded_waits_for_the_next() -> None:
    decoding = Decoding()
    assert decoding.event(Message("live", PRICE.key, EPOCH, 9, price(9)[:-9])) is None
    assert decoding.undecodable == 1
