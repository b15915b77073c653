"""The whole Coinbase feed against the simulated venue and its faults."""

from __future__ import annotations

import json

from bus.config import FeedSettings
from bus.feeds.coinbase.venue import create
from bus.testing import eventually
from tests.feeds.simulated import SimulatedRun, simulated
from tests.feeds.tap import Statuses, Tap, make_feed

STREAMS = ("price", "quote", "ticker", "trades", "orderbook", "depth")


async def live(run: SimulatedRun, *symbols: str) -> None:
    wanted = symbols or ("BTC-USD",)
    await eventually(lambda: {run.statuses.state(symbol) for symbol in wanted} == {"live"})


async def test_every_stream_is_published_and_the_book_is_the_venues(loop_kind: str) -> None:
    async with simulated("coinbase") as run:
        await live(run, "BTC-USD", "ETH-USD")
        await eventually(lambda: all(run.bodies(stream) for stream in STREAMS))
        await eventually(lambda: run.bodies("trades", "ETH-USD"))
        await eventually(lambda: len(run.bodies("depth")) > 10)
        assert run.bodies("depth")[0].is_snapshot
        (described,) = run.bodies("instrument")
        assert (described.base, described.quote, described.status) == ("BTC", "USD", "trading")
        assert described.tick_size > 0
        top = run.bodies("orderbook")[-1]
        bids, asks = run.book_of_depth()
        assert (bids[:20], asks[:20]) == (top.bids, top.asks)
        assert bids[0][0] < asks[0][0]
        ids = [trade.trade_id for trade in run.bodies("trades")]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        await eventually(lambda: run.statuses.state() == "live")


async def test_the_aggressor_agrees_with_the_markets_own_word() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        await eventually(lambda: len(run.bodies("trades")) > 20)
        market = run.server.streams["BTC-USD"].market
        truth = {one.trade_id: one for one in market.recent_trades}
        for trade in run.bodies("trades"):
            expected = "sell" if truth[trade.trade_id].buyer_is_maker else "buy"
            assert trade.aggressor_side == expected


async def test_lost_trades_are_found_and_fetched() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        await run.fault("drop_trade", symbol="BTC-USD", count=5)
        await eventually(lambda: run.report("trades_repaired") >= 5)
        ids = sorted(trade.trade_id for trade in run.bodies("trades"))
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert run.report("trade_gaps") >= 1
        assert run.report("trades_lost") == 0


async def test_trades_that_cannot_be_fetched_are_reported() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        await run.fault("rest_429", seconds=0.5)
        await run.fault("drop_trade", symbol="BTC-USD", count=1)
        await eventually(lambda: run.report("trade_gaps") == 1)
        run.server._rest._streams = {}  # the venue knows the product no more: 404
        await eventually(lambda: run.report("trades_lost") == 1, timeout_s=20)
        await eventually(lambda: run.statuses.last("BTC-USD").reason == "trades_lost")
        assert run.statuses.state("BTC-USD") == "live"


async def test_a_reconnection_fetches_what_was_missed(loop_kind: str) -> None:
    async with simulated("coinbase") as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        await run.fault("abort")
        await eventually(lambda: run.report("reconnects") == 1)
        await live(run)
        before = len(run.bodies("trades"))
        await eventually(lambda: len(run.bodies("trades")) > before + 5)
        await eventually(
            lambda: not run.venue_feed._served[0][1].instruments["BTC-USD"].trades.sequence.missing  # type: ignore[attr-defined]
        )
        ids = sorted(trade.trade_id for trade in run.bodies("trades"))
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert run.statuses.states("BTC-USD") == ["connecting", "live", "recovering", "live"]
        whole = [depth.is_snapshot for depth in run.bodies("depth")]
        assert whole.count(True) == 2
        run.book_of_depth()


async def test_a_crossed_book_is_had_anew_for_that_product_alone() -> None:
    async with simulated("coinbase") as run:
        await live(run, "BTC-USD", "ETH-USD")
        bid = run.server.streams["BTC-USD"].market.quote().bid_e8 / 1e8
        frame = {
            "type": "l2update",
            "product_id": "BTC-USD",
            "changes": [["sell", f"{bid * 0.99:.2f}", "1.0"]],
            "time": "2022-08-04T15:25:05.010758Z",
        }
        for client in run.server.clients:
            client.push(json.dumps(frame).encode())
        await eventually(lambda: run.report("book_crossed") == 1)
        await eventually(lambda: run.report("book_syncs") == 3)
        await live(run)
        assert "recovering" in run.statuses.states("BTC-USD")
        assert run.statuses.states("ETH-USD") == ["connecting", "live"]
        for book in run.bodies("orderbook"):
            assert book.bids[0][0] < book.asks[0][0]
        run.book_of_depth()


async def test_a_missing_heartbeat_has_the_product_subscribed_to_again() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        await run.fault("silence", stream="BTC-USD@heartbeat", seconds=5.4)
        await eventually(lambda: run.statuses.state("BTC-USD") == "stale", timeout_s=15)
        assert run.statuses.last("BTC-USD").detail == "no data of: heartbeat"
        await eventually(lambda: run.statuses.state("BTC-USD") == "live", timeout_s=15)
        assert run.report("resyncs") >= 1


async def test_strange_frames_are_counted_and_survived() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        for kind in ("garbage", "unknown_event", "big_frame"):
            await run.fault(kind)
        await eventually(lambda: run.feed.counters.malformed == 1)
        await eventually(lambda: run.feed.counters.unknown == 2)
        before = len(run.bodies("depth"))
        await eventually(lambda: len(run.bodies("depth")) > before)
        assert run.report("reconnects") == 0


async def test_a_misspelt_product_is_down_and_the_others_go_on() -> None:
    async with simulated("coinbase", "BTC-USD", "BTC-UDS") as run:
        await live(run)
        status = run.statuses.last("BTC-UDS")
        assert (status.state, status.reason) == ("down", "unknown_symbol")
        assert status.detail == "the venue lists no BTC-UDS; nearest: BTC-USD"
        await eventually(lambda: run.statuses.last().detail == "1 live, 1 down")


async def test_channels_run_while_the_list_of_products_cannot_be_had() -> None:
    async with simulated("coinbase", "BTC-USD", "NO-PE") as run:
        run.faults.refuse_rest(503, 2**62)
        await live(run)
        await eventually(lambda: run.statuses.state("NO-PE") == "down")
        run.faults.clear()
        await eventually(lambda: run.statuses.last("NO-PE").detail == "the venue lists no NO-PE")


async def test_a_replaced_connection_leaves_no_hole() -> None:
    async with simulated("coinbase") as run:
        await live(run, "BTC-USD", "ETH-USD")
        session = run.venue_feed._served[0][0]  # type: ignore[attr-defined]
        first = session.link
        session.rotate()
        await eventually(lambda: session.link not in (None, first))
        before = len(run.bodies("trades"))
        await eventually(lambda: len(run.bodies("trades")) > before + 5)
        ids = sorted(trade.trade_id for trade in run.bodies("trades"))
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert run.statuses.states("BTC-USD") == ["connecting", "live"]
        run.book_of_depth()


async def test_when_the_broker_comes_back_whole_books_are_published() -> None:
    async with simulated("coinbase") as run:
        await live(run)
        run.venue_feed.broker_attached()
        assert run.bodies("depth")[-1].is_snapshot


async def test_many_products_are_spread_over_connections() -> None:
    async with simulated("coinbase", streams_per_connection=4) as run:
        await live(run, "BTC-USD", "ETH-USD")
        assert run.report("connections") == 2


def test_create_makes_a_feed_without_starting_it() -> None:
    assert isinstance(create(make_feed(Tap(), Statuses(), FeedSettings())).report(), dict)
