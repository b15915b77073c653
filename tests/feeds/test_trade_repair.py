"""Missing trades are fetched, tried again, and given up in the end: never silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bus.clock import monotonic_ns
from bus.feeds.backoff import Backoff
from bus.feeds.errors import RestError
from bus.feeds.sequenced_trades import SequencedTrades
from bus.feeds.trade_repair import TRIES, keep_repaired
from bus.runtime import get_logger
from bus.testing import eventually
from tests.feeds.test_sequenced_trades import fill, ids, made


@asynccontextmanager
async def repairing(
    trades: SequencedTrades, fetch: Callable[[int, int], Awaitable[str]]
) -> AsyncIterator[None]:
    backoff = Backoff(0.01, 0.02)
    task = asyncio.ensure_future(
        keep_repaired(trades, fetch, backoff, get_logger("test"), "BTC-USD")
    )
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
