"""Merged book changes, against a book that took every one of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.book import OrderBook
from bus.model import Depth
from bus.wsbridge.channels import Channel, Merge
from bus.wsbridge.style import Style, Wire
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import Nobody, settings_of

levels = st.lists(st.tuples(st.integers(1, 9).map(float), st.integers(0, 3).map(float)), max_size=4)


@given(st.lists(st.tuples(levels, levels), min_size=1, max_size=20))
def test_one_merged_change_does_what_all_of_them_did(
    changes: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]],
) -> None:
    step_by_step, at_once = OrderBook(), OrderBook()
    merge: Merge | None = None
    for number, (bids, asks) in enumerate(changes, start=11):
        body = Depth(number, number, bids, asks)
        step_by_step.apply(bids, asks)
        if merge is None:
            merge = Merge(number, number)
        merge.add(body)
    assert merge is not None
    merged = merge.body()
    at_once.apply(merged.bids, merged.asks)
    assert at_once.levels() == step_by_step.levels()
    assert (merged.first_venue_seq, merged.last_venue_seq) == (11, 10 + len(changes))


def test_who_joins_a_conflated_channel_knows_what_waits() -> None:
    topic = Directory(settings_of()).resolve_topic("price.BTC")
    assert isinstance(topic, MarketTopic)
    channel: Channel[Nobody] = Channel(topic, Style(conflate_ms=100), Wire())
    channel.updates = 3
    late = Nobody()
    channel.add(late)
    assert channel.newcomers == {late: 3}
    channel.remove(late)
    assert (channel.clients, channel.newcomers) == ({}, {})
