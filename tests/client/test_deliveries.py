"""Every delivery says what kind it is."""

from __future__ import annotations

from bus.client.deliveries import Delivery, EpochChanged, GapFound, Message, SnapshotEnded


def test_every_delivery_has_a_kind_to_switch_on() -> None:
    deliveries: list[Delivery] = [
        Message("replay", b"t", 1, 2, b"f"),
        GapFound(b"t", 1, 2, 3, "gone"),
        EpochChanged(b"t", 1, 2),
        SnapshotEnded(b"p", 4),
    ]
    assert [d.kind for d in deliveries] == ["replay", "gap", "epoch", "snapshot_end"]
