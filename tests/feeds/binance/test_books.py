"""A hundred books share one budget: the most urgent first, none deeper than can be afforded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bus.config import FeedSettings
from bus.feeds.binance.books import urgency
from bus.feeds.binance.endpoints import affordable_limit
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.budget import Priority
from bus.feeds.listing import Listed
from bus.testing import eventually
from tests.feeds.binance.binance_server import Binance, Running, exchange_info, running_feed
from tests.feeds.fake_venue import RestAnswer, ok
from tests.feeds.tap import Statuses, Tap, make_feed

HUNDRED = tuple(f"C{number:03}-USDT" for number in range(100))


@pytest.mark.parametrize(
    ("limit", "books", "room", "asked"),
    [
        (1_000, 3, 3_000, 1_000),
        (1_000, 100, 3_000, 500),
        (1_000, 100, 1_000, 100),
        (1_000, 1_000, 1_000, 100),
        (5_000, 1, 200, 500),
        (50, 100, 0, 50),
        (100, 5, 0, 100),
    ],
)
def test_the_limit_is_what_can_be_afforded(limit: int, books: int, room: int, asked: int) -> None:
    assert affordable_limit(limit, books, room) == asked


def test_a_live_book_that_is_lost_is_the_most_urgent() -> None:
    feed = make_feed(Tap(), Statuses(), FeedSettings())
    one = InstrumentFeed(feed, Listed("BTC-USDT", "BTCUSDT"), lambda: None)
    one.book.start("connected")
    assert urgency(one) is Priority.START
    one.facts.was_live = True
    assert urgency(one) is Priority.RESYNC
    one.book.on_snapshot(5, [(1.0, 1.0)], [(2.0, 1.0)], 1, 1)
    one.book.refresh("audit")
    assert urgency(one) is Priority.REFRESH
    one.book.start("gap")
    assert urgency(one) is Priority.RESYNC


class Hundred:
    """A venue of a hundred symbols that counts weight and tells it."""

    def __init__(self, binance: Binance) -> None:
        binance.info = exchange_info(*HUNDRED)
        binance.venue.rest = self
        self.info = binance.info
        self.spent = 20
        self.limits: list[int] = []

    def __call__(self, path: str, query: dict[str, str]) -> RestAnswer:
        if path == "/api/v3/exchangeInfo":
            return self.info
        limit = int(query["limit"])
        self.limits.append(limit)
        self.spent += 5 if limit <= 100 else 25 if limit <= 500 else 50
        levels = [[str(1_000 - away), "1"] for away in range(min(limit, 200))]
        asks = [[str(1_001 + away), "1"] for away in range(min(limit, 200))]
        status, _, body = ok({"lastUpdateId": 100, "bids": levels, "asks": asks})
        return status, {"x-mbx-used-weight-1m": str(self.spent)}, body


async def started(run: Running) -> None:
    await eventually(lambda: len(run.binance.subscribed) == 400)
    for symbol in HUNDRED:
        run.binance.diff(symbol.replace("-", ""), 101, 101)


async def test_a_hundred_symbols_start_inside_the_budget_and_say_how_far_they_are() -> None:
    venues: list[Hundred] = []

    def prepare(binance: Binance) -> None:
        venues.append(Hundred(binance))

    async with running_feed(
        prepare, symbols=HUNDRED, rest_weight_per_minute=600, streams_per_connection=400
    ) as run:
        await started(run)
        await eventually(lambda: run.report("books_waiting") == 0, timeout_s=30)
        assert set(venues[0].limits[:100]) == {100}  # what could be afforded
        await eventually(lambda: run.report("rest_waiting") > 0)  # the rest comes later
        assert venues[0].spent <= 600
        details = [status.detail or "" for symbol, status in run.statuses.said if not symbol]
        assert any("books wait for their snapshot" in detail for detail in details)
        await eventually(lambda: "wait" not in (run.statuses.last().detail or ""))
        assert run.report("books_shallow") == 100
        assert run.report("rest_weight_used") <= 600


async def test_a_ban_stops_every_call_and_is_told_with_its_end() -> None:
    def prepare(binance: Binance) -> None:
        banned = (418, {"Retry-After": "300"}, b"{}")
        binance.snapshots["BTCUSDT"] = binance.snapshots["ETHUSDT"] = [banned]

    async with running_feed(prepare) as run:
        await eventually(lambda: len(run.binance.subscribed) >= 8)
        run.binance.diff("BTCUSDT", 101, 101)
        run.binance.diff("ETHUSDT", 101, 101)
        await eventually(lambda: "REST banned (418) until" in (run.statuses.last().detail or ""))
        calls = run.report("rest_calls")
        assert calls <= 3  # exchangeInfo, and what was under way when the ban came
        assert run.report("rest_blocked_s") > 200


async def test_a_stop_does_not_wait_for_the_budget(tmp_path: Path) -> None:
    started_s = time.monotonic()
    async with running_feed(rest_weight_per_minute=25) as run:
        await eventually(lambda: len(run.binance.subscribed) >= 8)
        run.binance.diff("BTCUSDT", 101, 101)
        run.binance.diff("ETHUSDT", 101, 101)
        await eventually(lambda: run.report("rest_waiting"))
        run.feed.stopping.set()
        await asyncio.wait_for(asyncio.shield(run.task), 5)
    assert time.monotonic() - started_s < 30
