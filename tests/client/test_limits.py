"""An inbox's figures add up."""

from __future__ import annotations

from msgspec.structs import fields

from bus.client.limits import InboxCounters, InboxStats
from bus.client.positions import Positions


def test_every_figure_is_filled() -> None:
    counters, positions = InboxCounters(), Positions()
    for number, name in enumerate(InboxCounters.__slots__, 1):
        setattr(counters, name, number)
    for number, name in enumerate(("messages", "duplicates", "skipped", "gaps", "lost", "epochs")):
        setattr(positions, name, 100 + number)
    stats = counters.stats(positions, 1_000, 1_001)
    values = [getattr(stats, field.name) for field in fields(InboxStats)]
    assert len(set(values)) == len(values)
    assert 0 not in values
