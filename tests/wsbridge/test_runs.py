"""What waits for a slow client: what is dropped of it, and what is told in its place."""

from __future__ import annotations

import pytest

from bus.wsbridge.channels import RESYNC, Channel, Mark, Unit
from bus.wsbridge.runs import Run, Runs
from bus.wsbridge.style import Style, Wire
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import Nobody, settings_of

DIRECTORY = Directory(settings_of())


def channel(name: str, conflate_ms: int = 0) -> Channel[Nobody]:
    topic = DIRECTORY.resolve_topic(name)
    assert isinstance(topic, MarketTopic)
    return Channel(topic, Style(conflate_ms=conflate_ms), Wire())


def unit(seq: int, epoch: int = 1) -> Unit:
    return Unit(b"x" * 10, epoch, seq, seq, is_frame=True)


WORD = Unit(b"w" * 10, is_frame=True, is_word=True)
TRADES, OTHERS = channel("trades.BTC"), channel("trades.ETH")


def waiting(*given: Run) -> Runs:
    runs = Runs()
    for run in given:
        runs.put(run)
    return runs


def told(runs: Runs) -> list[object]:
    """What waits, as the numbers of messages, ranges that are lost, and words."""
    found: list[object] = []
    for run in runs.queue:
        if run.hole is not None:
            found.append((run.hole.topic, run.hole.first, run.hole.last))
        found += [one.first or "word" for one in run.units]
    return found


def test_a_hole_stands_where_its_messages_stood_and_grows() -> None:
    mine = Run((unit(99),), 1)  # an acknowledgement, say
    runs = waiting(mine, Run([unit(1), unit(2)], 2, TRADES), mine, Run([unit(3)], 3, TRADES))
    assert (runs.oldest_of_a_channel(), runs.oldest_ns) == (1, 2)
    runs.drop_from(1, 0)
    assert told(runs) == [99, ("trades.BTC", 1, 1), 2, 99, 3]
    runs.drop_from(2, 0)
    assert told(runs) == [99, ("trades.BTC", 1, 2), 99, 3]
    runs.drop_from(3, -1)
    assert told(runs) == [99, ("trades.BTC", 1, 3), 99]
    assert (runs.oldest_of_a_channel(), runs.oldest_ns) == (None, 0)
    assert (runs.size_bytes, runs.dropped_messages) == (20, 3)


@pytest.mark.parametrize("second", [unit(2, epoch=2), unit(9)])
def test_what_does_not_follow_on_a_hole_is_another(second: Unit) -> None:
    runs = waiting(Run([unit(1), second], 1, TRADES))
    runs.drop_from(0, -1)
    assert told(runs) == [("trades.BTC", 1, 1), ("trades.BTC", second.first, second.last)]


def test_each_topic_has_its_own_and_one_that_was_told_or_given_up_grows_no_more() -> None:
    runs = waiting(
        *(Run([unit(n)], n, which) for n in (1, 2, 3) for which in (TRADES, OTHERS)),
    )
    runs.drop_from(0, -1)
    runs.drop_from(1, -1)
    assert told(runs) == [("trades.BTC", 1, 1), ("trades.ETH", 1, 1), 2, 2, 3, 3]
    hole = runs.queue[0].hole
    assert hole is not None
    runs.take_hole(hole)
    runs.forget("trades.ETH")
    runs.drop_from(1, -1)
    runs.drop_from(2, -1)
    assert told(runs) == [
        ("trades.ETH", 1, 1), ("trades.BTC", 2, 2), ("trades.ETH", 2, 2), 3, 3,
    ]  # fmt: skip


def test_words_stay_whatever_is_dropped_around_them() -> None:
    runs = waiting(Run([unit(1), WORD, unit(2)], 1, TRADES))
    runs.drop_from(0, -1)
    assert told(runs) == [("trades.BTC", 1, 2), "word"]
    assert runs.size_bytes == len(WORD.data)
    book = channel("orderbook.BTC#delta")
    runs = waiting(Run([unit(1), WORD], 1, book), Run([unit(7)], 1), Run([unit(2)], 1, book))
    runs.drop_all_of(book)
    assert told(runs) == ["word", 7]
    assert (runs.size_bytes, runs.dropped_messages) == (20, 2)


def test_what_waits_of_a_channel_follows_its_client_to_another() -> None:
    old, new = channel("price.BTC"), channel("price.BTC", 100)
    old.updates, new.updates = 10, 3
    runs = waiting(
        Run([unit(1)], 1, old, Mark(8, 5)), Run([unit(2)], 1, old), Run([unit(3)], 1, TRADES)
    )
    runs.moved(old, new)
    assert [(run.channel, run.mark) for run in runs.queue] == [
        (new, Mark(1, 5)), (new, RESYNC), (TRADES, RESYNC),
    ]  # fmt: skip
