"""Missing trades are fetched, tried again, and given up in the end: never silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bus.clock import monotonic_ns
from bus.feeds.backoff import Backoff
from bus.feeds.errors import RestError
from bus.feeds.sequenced_trades import SequencedTrades
from bus.feeds.trade_repair import TRIES, OutOfReach, TradeRepair
from bus.runtime import get_logger
from bus.runtime.log import configure
from bus.testing import eventually
from tests.feeds.test_sequenced_trades import fill, ids, made


@asynccontextmanager
async def repairing(
    trades: SequencedTrades, fetch: Callable[[int, int], Awaitable[str]]
) -> AsyncIterator[None]:
    repair = TradeRepair(get_logger("test"), Backoff(0.01, 0.02))
    task = asyncio.ensure_future(repair.keep(trades, fetch, "BTC-USD"))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_hole_is_fetched(loop_kind: str) -> None:
    tap, trades = made()

    async def fetch(first_id: int, last_id: int) -> str:
        for number in range(first_id, last_id + 1):
            trades.publish(*fill(number), 6)
        return ""

    for number in (1, 4, 6):
        trades.publish(*fill(number), 5)
    async with repairing(trades, fetch):
        await eventually(lambda: not trades.sequence.missing)
        trades.publish(*fill(9), 5)
        await eventually(lambda: not trades.sequence.missing)
    assert sorted(ids(tap)) == list(range(1, 10))
    assert trades.losses().lost == 0


async def test_what_cannot_be_had_is_given_up_after_some_tries_with_the_reason() -> None:
    _, trades = made()
    asked: list[tuple[int, int]] = []

    async def fetch(first_id: int, last_id: int) -> str:
        asked.append((first_id, last_id))
        if len(asked) % 2:
            raise RestError("venue", "no", status=503)
        return "the venue tells no older ones"

    trades.publish(*fill(1), 5)
    trades.publish(*fill(4), 5)
    async with repairing(trades, fetch):
        await eventually(lambda: trades.losses().lost == 2)
    assert asked == [(2, 3)] * TRIES
    assert "2 trades lost, ids 2 to 3" in trades.lost_lately(monotonic_ns())


async def test_what_the_venue_does_not_tell_any_more_is_given_up_at_once_and_the_rest_fetched() -> (
    None
):
    tap, trades = made()
    asked: list[tuple[int, int]] = []

    async def fetch(first_id: int, last_id: int) -> str:
        asked.append((first_id, last_id))
        trades.publish_missing([fill(number) for number in range(5, 20)], 6)
        raise OutOfReach("the venue tells its last 15 trades only", 4)

    for number in (1, 3, 5, 10, 12):
        trades.publish(*fill(number), 5)
    async with repairing(trades, fetch):
        await eventually(lambda: trades.losses().lost == 2)
    assert asked == [(2, 2)], "one list serves every gap"
    assert sorted(ids(tap)) == [1, 3, *range(5, 13)]
    assert trades.sequence.missing == ()
    words = trades.lost_lately(monotonic_ns())
    assert words == "2 trades lost, ids 2 to 4: the venue tells its last 15 trades only"


async def test_many_symbols_that_miss_trades_are_one_line_of_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("test", "info")
    repair = TradeRepair(get_logger("feeds.test"), Backoff(0.01, 0.02))

    async def fetch(first_id: int, last_id: int) -> str:
        raise OutOfReach("too old", last_id)

    all_trades = [made()[1] for _ in range(20)]
    tasks = [
        asyncio.ensure_future(repair.keep(trades, fetch, f"C{number}-USD"))
        for number, trades in enumerate(all_trades)
    ]
    for trades in all_trades:
        trades.publish(*fill(1), 5)
        trades.publish(*fill(4), 5)
    await eventually(lambda: all(trades.losses().lost == 2 for trades in all_trades))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    lines = capsys.readouterr().err
    assert lines.count(" trades missing ") == 1
    assert lines.count(" trades lost symbol=") == 1
