"""Symbols that come and go while the feed runs; the others do not notice."""

from __future__ import annotations

import pytest

from bus.feeds.errors import CommandRefused
from bus.model import Instrument
from bus.testing import eventually
from tests.feeds.binance.binance_server import Binance, exchange_info, running_feed, snapshot
from tests.feeds.binance.test_venue import BTC_TRADES, EVERYTHING, both_synced

SOL = ["solusdt@trade", "solusdt@bookTicker", "solusdt@ticker", "solusdt@depth@100ms"]


def three(binance: Binance) -> None:
    binance.info = exchange_info("BTC-USDT", "ETH-USDT", "SOL-USDT")
    binance.snapshots["SOLUSDT"] = [snapshot(100)]


async def test_a_symbol_is_added_on_the_open_connection(loop_kind: str) -> None:
    async with running_feed(three) as run:
        await both_synced(run)
        answer = await run.binance_feed.add_symbols({"symbols": ["SOL-USDT", "ETH-USDT"]})
        assert answer == {"symbols": ["BTC-USDT", "ETH-USDT", "SOL-USDT"], "refused": []}
        await eventually(lambda: run.binance.subscribed == EVERYTHING + SOL)
        run.binance.diff("SOLUSDT", 101, 101)
        run.binance.trade("SOLUSDT", 1)
        run.binance.trade("BTCUSDT", 1)
        await eventually(lambda: run.statuses.state("SOL-USDT") == "live")
        assert len(run.tap.bodies("md/trades/sim/SOL-USDT/")) == 1
        assert len(run.tap.bodies(BTC_TRADES)) == 1
        assert run.statuses.states("BTC-USDT") == ["connecting", "live"]
        assert run.venue.opened == 1


async def test_a_symbol_beyond_a_connections_limit_gets_one_of_its_own() -> None:
    async with running_feed(three, streams_per_connection=8) as run:
        await both_synced(run)
        await run.binance_feed.add_symbols({"symbols": ["SOL-USDT"]})
        await eventually(lambda: run.binance.subscribed == EVERYTHING + SOL)
        assert run.venue.opened == 2
        assert run.report("connections") == 2
        await run.binance_feed.remove_symbols({"symbols": ["SOL-USDT"]})
        await eventually(lambda: len(run.venue.open) == 1)
        assert run.report("connections") == 1


async def test_an_unknown_symbol_is_refused_with_the_nearest(loop_kind: str) -> None:
    async with running_feed(three) as run:
        await both_synced(run)
        answer = await run.binance_feed.add_symbols({"symbols": ["SOL-UDST", "SOL-USDT"]})
        assert answer["symbols"] == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
        assert len(answer["refused"]) == 1
        assert answer["refused"][0]["symbol"] == "SOL-UDST"
        assert answer["refused"][0]["reason"] == "the venue lists no SOL-UDST"
        assert answer["refused"][0]["nearest"][0] == "SOL-USDT"


async def test_a_removed_symbol_is_closed_and_its_late_frames_are_no_surprise(
    loop_kind: str,
) -> None:
    async with running_feed() as run:
        await both_synced(run)
        answer = await run.binance_feed.remove_symbols({"symbols": ["ETH-USDT"]})
        assert answer == {"symbols": ["BTC-USDT"], "refused": []}
        status = run.statuses.last("ETH-USDT")
        assert (status.state, status.reason) == ("closed", "removed")
        await eventually(lambda: '"method":"UNSUBSCRIBE"' in run.venue.messages[-1])
        run.binance.trade("ETHUSDT", 5)  # was under way
        run.binance.trade("BTCUSDT", 5)
        await eventually(lambda: len(run.tap.bodies(BTC_TRADES)) == 1)
        assert run.tap.bodies("md/trades/sim/ETH-USDT/") == []
        assert run.feed.counters.unknown == 0
        assert run.statuses.last("ETH-USDT").reason == "removed"
        listed = await run.binance_feed.list_symbols({})
        assert listed["states"] == {"BTC-USDT": "live"}


async def test_a_removed_symbol_can_come_back(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        await run.binance_feed.remove_symbols({"symbols": ["ETH-USDT"]})
        await run.binance_feed.add_symbols({"symbols": ["ETH-USDT"]})
        await eventually(lambda: run.binance.depth_requests("ETHUSDT") == 1)
        run.binance.snapshots["ETHUSDT"] = [snapshot(200)]
        run.binance.diff("ETHUSDT", 201, 201)
        run.binance.trade("ETHUSDT", 5)
        await eventually(lambda: run.statuses.state("ETH-USDT") == "live")


async def test_the_symbols_of_a_connection_that_is_down_are_subscribed_to_later() -> None:
    async with running_feed(three, rest_timeout_s=1.0) as run:
        await both_synced(run)
        run.venue.refuse = (503, {}, b"")
        run.venue.abort_all()
        await eventually(lambda: run.report("connections") == 0)
        await run.binance_feed.add_symbols({"symbols": ["SOL-USDT"]})
        run.venue.refuse = None
        await eventually(lambda: run.binance.subscribed[8:] == EVERYTHING + SOL)


@pytest.mark.parametrize(
    "arguments", [{}, {"symbols": []}, {"symbols": "BTC-USDT"}, {"symbols": [1]}]
)
async def test_arguments_of_the_wrong_shape_are_refused(arguments: dict[str, object]) -> None:
    async with running_feed() as run:
        with pytest.raises(CommandRefused, match="symbols"):
            await run.binance_feed.add_symbols(arguments)


async def test_removing_what_is_not_served_is_refused_with_the_nearest() -> None:
    async with running_feed() as run:
        await both_synced(run)
        answer = await run.binance_feed.remove_symbols({"symbols": ["ETH-USDC"]})
        assert answer["refused"][0]["nearest"][0] == "ETH-USDT"
        assert answer["symbols"] == ["BTC-USDT", "ETH-USDT"]


async def test_a_list_that_cannot_be_read_adds_nothing() -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance.info = (500, {}, b"")
        with pytest.raises(CommandRefused, match="list cannot be read"):
            await run.binance_feed.add_symbols({"symbols": ["SOL-USDT"]})


async def test_what_the_venue_says_about_an_instrument_is_published_once() -> None:
    async with running_feed() as run:
        await both_synced(run)
        assert run.tap.bodies("md/instrument/sim/BTC-USDT/") == [
            Instrument("BTC", "USDT", "spot", "trading", "BTCUSDT", 0.01)
        ]
