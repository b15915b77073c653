"""Lines of depth topics: the book is that of whoever applied every change."""

from __future__ import annotations

import zlib

from bus.model import Depth
from bus.wsbridge.lines import BookStep, Kept, Line, book_checksum
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import live, settings_of


def _topic() -> MarketTopic:
    found = Directory(settings_of()).resolve_topic("orderbook.BTC#delta")
    assert isinstance(found, MarketTopic)
    return found


TOPIC = _topic()


def take(line: Line, seq: int, body: Depth) -> BookStep:
    message = live("depth", seq, body=body)
    assert line.accept(message.epoch, seq, message.frame)
    assert line.last is not None
    return line.take_depth(line.last.decode())


def test_a_book_follows_its_changes_and_is_one_message() -> None:
    line = Line(TOPIC, 10)
    assert take(line, 1, Depth(5, 6, [(1.0, 1.0)], [], False)) is BookStep.LOST
    assert not line.has_book
    assert take(line, 2, Depth(10, 10, [(99.0, 1.0)], [(101.0, 1.0)], True)) is BookStep.RESYNC
    assert take(line, 3, Depth(11, 12, [(99.0, 0.0), (98.0, 2.0)], [])) is BookStep.DELTA
    book = line.whole_book()
    assert book is not None
    assert book is line.whole_book(), "made once for a position"
    assert book.tick is not None
    assert (book.seq, book.tick.seq) == (3, 3)
    assert book.tick.body == Depth(12, 12, [(98.0, 2.0)], [(101.0, 1.0)], True)


def test_the_whole_book_again_changes_nothing_unless_it_is_another() -> None:
    line = Line(TOPIC, 10)
    take(line, 1, Depth(10, 10, [(99.0, 1.0)], [], True))
    assert take(line, 2, Depth(10, 10, [(99.0, 1.0)], [], True)) is BookStep.NOTHING
    assert take(line, 3, Depth(10, 10, [(99.0, 2.0)], [], True)) is BookStep.RESYNC
    assert take(line, 4, Depth(20, 20, [(99.0, 2.0)], [], True)) is BookStep.RESYNC


def test_after_a_loss_there_is_no_book_until_the_next_whole_one() -> None:
    line = Line(TOPIC, 10)
    take(line, 1, Depth(10, 10, [(99.0, 1.0)], [], True))
    line.note_gap(line.epoch, line.seq)
    assert not line.has_book
    assert take(line, 5, Depth(15, 15, [(97.0, 1.0)], [])) is BookStep.LOST
    assert take(line, 6, Depth(16, 16, [(97.0, 1.0)], [], True)) is BookStep.RESYNC
    assert line.resync_reason == "bus"
    assert line.has_book


def test_a_change_that_leaves_something_out_costs_the_book() -> None:
    line = Line(TOPIC, 10)
    take(line, 1, Depth(10, 10, [(99.0, 1.0)], [], True))
    assert take(line, 2, Depth(9, 11, [(98.0, 1.0)], [])) is BookStep.DELTA, "it overlaps"
    assert take(line, 3, Depth(12, 12, [(98.0, 2.0)], [])) is BookStep.DELTA
    assert take(line, 4, Depth(14, 14, [(98.0, 3.0)], [])) is BookStep.SKIPPED
    assert not line.has_book
    assert line.whole_book() is None
    assert take(line, 5, Depth(15, 15, [(98.0, 4.0)], [])) is BookStep.LOST
    assert take(line, 6, Depth(20, 20, [(98.0, 5.0)], [], True)) is BookStep.RESYNC
    assert line.resync_reason == "feed_resync"
    assert take(line, 7, Depth(21, 21, [(98.0, 6.0)], [])) is BookStep.DELTA


def test_a_new_count_begins_with_a_whole_book_even_if_it_is_the_same() -> None:
    line = Line(TOPIC, 10)
    whole = Depth(10, 10, [(99.0, 1.0)], [], True)
    take(line, 7, whole)
    assert line.last is not None
    assert line.accept(line.epoch + 1, 1, line.last.frame)
    assert not line.has_book, "changes of the new count do not apply to the old book"
    assert line.take_depth(line.last.decode()) is BookStep.RESYNC
    assert line.resync_reason == "epoch"


def test_the_checksum_is_that_of_the_decimal_texts_of_ten_levels() -> None:
    bids = [(100.5 - n, 0.1 + n) for n in range(12)]
    asks = [(101.0, 1e-8)]
    line = Line(TOPIC, 10)
    take(line, 1, Depth(1, 1, bids, asks, True))
    assert line.checksum() == book_checksum(bids[:10], asks)
    assert book_checksum([(100.5, 2.0)], asks) == zlib.crc32(b"100.5:2,101:0.00000001")


def test_what_is_malformed_is_told_once_and_not_tried_again() -> None:
    kept = Kept(1, 1, b"md/price/sim/BTC-USDT/\0\xc1")
    assert kept.tick is None
    assert kept.tick is None
