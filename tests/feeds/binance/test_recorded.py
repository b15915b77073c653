"""Recorded Binance traffic through the real parser, sync, book and handler, tick by tick."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bus.config import FeedSettings
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import DepthEvent, Parser, TradeEvent, parse_snapshot
from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.model import OrderBook, Trade
from tests.feeds.recorded import is_snapshot, lines
from tests.feeds.tap import Statuses, Tap, make_feed

pytestmark = pytest.mark.recorded

BTC = Listed("BTC-USDT", "BTCUSDT")
COMPARABLE, EQUAL_AT_LEAST = 6_492, 6_490


@dataclass
class Outcome:
    """How a book compares with the venue's own top of book after every diff."""

    comparable: int
    equal: int
    crossed: int
    feed: InstrumentFeed


Top = tuple[float, float, float, float]


def venue_tops(folder: Path) -> tuple[list[int], list[Top]]:
    ids, tops = [], []
    for _, raw in lines(folder):
        if b"@bookTicker" in raw[:40]:
            data = json.loads(raw)["data"]
            ids.append(data["u"])
            tops.append((float(data["b"]), float(data["B"]), float(data["a"]), float(data["A"])))
    return ids, tops


def replay(folder: Path, *, drop_early_diffs: bool) -> Outcome:
    """All diffs and the snapshot, in recorded order, through one instrument's handler.

    ``drop_early_diffs`` is the deliberate mistake: diffs before the snapshot's reply are thrown
    away and the first after it is believed to continue it.
    """
    ids, tops = venue_tops(folder)
    tap = Tap()
    settings = FeedSettings(symbols=("BTC-USDT",))
    one = InstrumentFeed(make_feed(tap, Statuses(), settings), BTC, lambda: None)
    parser = Parser()
    book = one.book
    book.start("connected")
    after: list[tuple[int, Top, bool]] = []
    loaded = False
    for received, raw in lines(folder):
        if is_snapshot(raw):
            snapshot = parse_snapshot(raw)
            book.on_snapshot(snapshot.last_update_id, snapshot.bids, snapshot.asks, received, 0)
            loaded = True
            continue
        if b"@depth" not in raw[:40]:
            continue
        if drop_early_diffs:
            if not loaded:
                continue
            event = parser.parse(raw)[1]
            assert isinstance(event, DepthEvent)
            book.book.apply(event.bids, event.asks)
            bid, ask = book.book.best_bid, book.book.best_ask
            assert bid is not None
            assert ask is not None
            after.append((event.last_id, (*bid, *ask), book.book.crossed))
        else:
            stream, event = parser.parse(raw)
            one.routes[stream](event, received)
    if not drop_early_diffs:
        published = [m.body for m in tap.messages if isinstance(m.body, OrderBook)]
        for body in published[1:]:  # the first is the snapshot itself, before any diff
            assert body.venue_seq is not None
            top = (*body.bids[0], *body.asks[0])
            after.append((body.venue_seq, top, body.bids[0][0] >= body.asks[0][0]))
    comparable = equal = 0
    for last_id, top, _ in after:
        at = bisect_right(ids, last_id)
        if at:
            comparable += 1
            equal += tops[at - 1] == top
    return Outcome(comparable, equal, sum(crossed for *_, crossed in after), one)


def test_the_book_equals_the_venues_own_top_after_every_diff(recorded_dir: Path) -> None:
    outcome = replay(recorded_dir, drop_early_diffs=False)
    assert outcome.comparable >= COMPARABLE
    assert outcome.equal >= EQUAL_AT_LEAST
    assert outcome.crossed == 0
    book = outcome.feed.book.book
    assert book.best_bid is not None
    assert book.best_ask is not None
    assert (book.best_bid[0], book.best_ask[0]) == (61602.01, 61602.02)
    assert (book.bid_count, book.ask_count) == (1_971, 2_962)
    stats = outcome.feed.book.stats()
    assert (stats.syncs, stats.crossed, stats.sync.gaps) == (1, 0, 0)


def test_a_rebuild_that_drops_the_early_diffs_fails_that_check(recorded_dir: Path) -> None:
    outcome = replay(recorded_dir, drop_early_diffs=True)
    assert outcome.equal < EQUAL_AT_LEAST
    assert outcome.crossed > 5_000


def test_the_audit_finds_the_two_real_misses_by_itself(recorded_dir: Path) -> None:
    tap = Tap()
    settings = FeedSettings(symbols=("BTC-USDT",))
    one = InstrumentFeed(make_feed(tap, Statuses(), settings), BTC, lambda: None)
    parser = Parser()
    one.book.start("connected")
    for received, raw in lines(recorded_dir):
        if is_snapshot(raw):
            snapshot = parse_snapshot(raw)
            one.book.on_snapshot(snapshot.last_update_id, snapshot.bids, snapshot.asks, received, 0)
            continue
        stream, event = parser.parse(raw)
        one.routes[stream](event, received)
    stats = one.book.stats()
    assert stats.audit_mismatch == 2
    assert stats.audit_ok == 5_735  # diffs that a bookTicker had come for since the one before


def started(limit: int = 0) -> tuple[InstrumentFeed, Callable[[int, bytes], None]]:
    """An instrument, and a function that plays it one recorded line."""
    settings = FeedSettings(symbols=("BTC-USDT",))
    one = InstrumentFeed(make_feed(Tap(), Statuses(), settings), BTC, lambda: None)
    parser = Parser()
    one.book.start("connected")

    def play(received: int, raw: bytes) -> None:
        if is_snapshot(raw):
            found = parse_snapshot(raw)
            bids, asks = found.bids, found.asks
            one.book.on_snapshot(found.last_update_id, bids, asks, received, 0, limit)
        else:
            stream, event = parser.parse(raw)
            one.routes[stream](event, received)

    return one, play


def test_each_wrong_top_begins_a_refresh_at_its_very_diff_and_the_book_stays(
    recorded_dir: Path,
) -> None:
    ids, tops = venue_tops(recorded_dir)
    one, play = started()
    wrong: list[int] = []
    noticed: list[int] = []
    was_synced = False
    for received, raw in lines(recorded_dir):
        play(received, raw)
        book = one.book
        assert book.synced or not was_synced  # once there, never without a book
        was_synced = book.synced
        if b"@depth" not in raw[:40] or not book.synced:
            continue
        at = bisect_right(ids, book.last_id)
        bid, ask = book.book.best_bid, book.book.best_ask
        assert bid is not None
        assert ask is not None
        if at and tops[at - 1] != (*bid, *ask):
            wrong.append(book.last_id)
        if book.refreshing:
            noticed.append(book.last_id)
            # the venue's answer: as far as is known here, so that the next wrong top is wrong too
            bids, asks = book.book.levels()
            assert book.on_snapshot(book.last_id, bids, asks, received, 0)
    assert len(wrong) == 2
    assert noticed == wrong
    stats = one.book.stats()
    assert stats.refreshes_begun == {"audit": 2}
    assert (stats.refreshes, stats.syncs, stats.audit_mismatch) == (2, 1, 2)


def test_a_refresh_at_the_edge_comes_before_the_first_wrong_top(recorded_dir: Path) -> None:
    one, play = started(limit=1_000)
    for received, raw in lines(recorded_dir):
        play(received, raw)
        if one.book.refreshing:
            break
    assert one.book.refresh_reason == "edge"
    assert one.book.stats().audit_mismatch == 0


def test_every_trade_arrives_with_the_values_of_its_text(recorded_dir: Path) -> None:
    tap = Tap()
    one = InstrumentFeed(make_feed(tap, Statuses(), FeedSettings()), BTC, lambda: None)
    parser = Parser()
    expected: list[dict[str, Any]] = []
    for received, raw in lines(recorded_dir):
        if b"@trade" not in raw[:40]:
            continue
        stream, event = parser.parse(raw)
        assert isinstance(event, TradeEvent)
        one.routes[stream](event, received)
        expected.append({**json.loads(raw)["data"], "received": received})
    trades = [m for m in tap.messages if isinstance(m.body, Trade)]
    assert len(trades) == len(expected) == 19_904
    for message, data in zip(trades, expected, strict=True):
        body = message.body
        assert isinstance(body, Trade)
        assert f"{body.price:.8f}" == data["p"]
        assert f"{body.size:.8f}" == data["q"]
        assert body.trade_id == data["t"]
        assert body.aggressor_side == ("sell" if data["m"] else "buy")
        assert message.venue_ts_ns == data["T"] * 1_000_000
        assert message.recv_ts_ns == data["received"]


def test_every_recorded_number_survives_text_float_shortest_text(recorded_dir: Path) -> None:
    texts: set[bytes] = set()
    for _, raw in lines(recorded_dir):
        texts.update(re.findall(rb'"(\d+\.\d+)"', raw))
    assert len(texts) > 76_000
    wrong = [
        text
        for text in texts
        if Decimal(repr(float(text))) != Decimal(text.decode())
        or f"{float(text):.8f}" != text.decode()
    ]
    assert wrong == []


def test_the_parser_reads_those_numbers_as_python_does(recorded_dir: Path) -> None:
    parser = Parser()
    for _, raw in lines(recorded_dir):
        if b"@depth" in raw[:40]:
            event = parser.parse(raw)[1]
            data = json.loads(raw)["data"]
            assert isinstance(event, DepthEvent)
            assert event.bids == [(float(price), float(size)) for price, size in data["b"]]
            assert event.asks == [(float(price), float(size)) for price, size in data["a"]]
            assert (event.first_id, event.last_id) == (data["U"], data["u"])


def test_other_recorded_frames_are_read_or_refused(recorded_dir: Path) -> None:
    parser = Parser()
    kinds: dict[str, int] = {}
    for line in (recorded_dir / "frames" / "binance_spot_frames.jsonl").read_text().splitlines():
        raw = json.loads(line)["raw"].encode()
        try:
            kind = type(parser.parse(raw)[1]).__name__
        except ParseError:
            kind = "array"  # of a stream of all symbols, outside its wrapper
        kinds[kind] = kinds.get(kind, 0) + 1
    assert kinds["TickerEvent"] >= 1
    assert kinds["TradeEvent"] >= 1
