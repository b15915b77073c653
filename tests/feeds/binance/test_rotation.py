"""Connections replaced while trades run: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import asyncio

import pytest

from bus.feeds import handover
from bus.feeds.errors import CommandRefused
from bus.testing import eventually
from tests.feeds.binance.binance_server import Running, running_feed
from tests.feeds.binance.test_venue import BTC_DEPTH, BTC_TRADES, EVERYTHING, both_synced

BOTH = ("BTCUSDT", "ETHUSDT")


async def rotating(run: Running) -> asyncio.Task[dict[str, object]]:
    """A rotation under way: the new connection is open and subscribed."""
    await both_synced(run)
    task = asyncio.ensure_future(run.binance_feed.rotate({}))
    await eventually(lambda: run.binance.subscribed == EVERYTHING * 2)
    return task


def published(run: Running) -> list[int]:
    return [trade.trade_id for trade in run.tap.bodies(BTC_TRADES)]


async def test_trades_that_both_bring_are_published_once_and_in_order(loop_kind: str) -> None:
    async with running_feed() as run:
        task = await rotating(run)
        for number in range(1, 21):
            for to in (0, 1):
                for venue_symbol in BOTH:
                    run.binance.everything(
                        venue_symbol, number, to=min(to, len(run.venue.open) - 1)
                    )
        answer = await asyncio.wait_for(task, 5)
        assert answer["connections"] == 1
        assert answer["duplicates_dropped"] > 0  # type: ignore[operator]
        await eventually(lambda: len(run.venue.open) == 1)
        run.binance.everything("BTCUSDT", 21)
        await eventually(lambda: published(run) == list(range(1, 22)))
        assert run.statuses.states("BTC-USDT") == ["connecting", "live"]
        assert run.binance.depth_requests("BTCUSDT") == 1


async def test_an_old_connection_that_lags_loses_nothing(loop_kind: str) -> None:
    async with running_feed() as run:
        task = await rotating(run)
        for number in (1, 2, 3):
            run.binance.everything("BTCUSDT", number, to=0)
            run.binance.everything("ETHUSDT", number, to=0)
        for number in (6, 7):  # 4 and 5 are still under way on the old one
            run.binance.everything("BTCUSDT", number, to=1)
            run.binance.everything("ETHUSDT", number, to=1)
        await eventually(lambda: len(published(run)) == 3)
        assert not task.done()
        for number in (4, 5, 6):
            run.binance.everything("BTCUSDT", number, to=0)
            run.binance.everything("ETHUSDT", number, to=0)
        await asyncio.wait_for(task, 5)
        await eventually(lambda: published(run) == [1, 2, 3, 4, 5, 6, 7])
        ids = [body.last_venue_seq for body in run.tap.bodies(BTC_DEPTH) if not body.is_snapshot]
        assert ids == list(range(101, 109))
        assert run.feed.counters.gaps == 0


async def test_an_old_connection_that_is_cut_meanwhile_is_followed_by_the_new_one() -> None:
    async with running_feed() as run:
        task = await rotating(run)
        run.binance.everything("BTCUSDT", 1, to=0)
        run.binance.everything("BTCUSDT", 1, to=1)
        await eventually(lambda: published(run) == [1])
        run.venue.open[0].transport.abort()
        await asyncio.wait_for(task, 5)
        run.binance.everything("BTCUSDT", 2)
        await eventually(lambda: published(run) == [1, 2])
        assert run.statuses.states("BTC-USDT") == ["connecting", "live"]
        assert run.venue.opened == 2


async def test_quiet_streams_are_waited_for_no_longer_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "DEADLINE_NS", 300_000_000)
    async with running_feed() as run:
        task = await rotating(run)
        for to in (0, 1):
            run.binance.everything("BTCUSDT", 1, to=to)  # nothing at all of ETHUSDT
        answer = await asyncio.wait_for(task, 5)
        assert answer["connections"] == 1
        await eventually(lambda: len(run.venue.open) == 1)


async def test_a_new_connection_that_lacks_a_stream_does_not_take_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "DEADLINE_NS", 300_000_000)
    monkeypatch.setattr(handover, "SETTLE_NS", 0)
    async with running_feed() as run:
        task = await rotating(run)
        run.binance.everything("BTCUSDT", 1, to=0)
        run.binance.everything("BTCUSDT", 1, to=1)
        run.binance.everything("ETHUSDT", 1, to=0)  # the new one never brings it
        with pytest.raises(CommandRefused, match="no connection was replaced"):
            await asyncio.wait_for(task, 5)
        run.binance.trade("BTCUSDT", 2, to=0)
        await eventually(lambda: published(run)[-1] == 2)


async def test_without_a_connection_there_is_nothing_to_rotate() -> None:
    async with running_feed() as run:
        await both_synced(run)
        await run.venue.stop()
        await eventually(lambda: run.report("connections") == 0)
        with pytest.raises(CommandRefused):
            await run.binance_feed.rotate({})
