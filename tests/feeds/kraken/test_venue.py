"""The whole Kraken feed against the simulated venue and its faults."""

from __future__ import annotations

from typing import cast

from bus.config import FeedSettings
from bus.feeds.kraken import requests
from bus.feeds.kraken.venue import KrakenFeed, create
from bus.feeds.trade_sequence import TradeSequence
from bus.testing import eventually
from tests.feeds.coinbase.test_venue import STREAMS, live
from tests.feeds.simulated import SimulatedRun, simulated
from tests.feeds.tap import Statuses, Tap, make_feed


async def test_every_stream_is_published_and_the_book_is_checked(loop_kind: str) -> None:
    async with simulated("kraken", depth_limit=25) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await eventually(lambda: all(run.bodies(stream) for stream in STREAMS))
        await eventually(lambda: len(run.bodies("depth")) > 30)
        assert run.bodies("depth")[0].is_snapshot
        (described,) = run.bodies("instrument")
        assert (described.base, described.quote, described.status) == ("BTC", "USD", "trading")
        assert described.tick_size > 0
        top = run.bodies("orderbook")[-1]
        bids, asks = run.book_of_depth()
        assert (bids[:20], asks[:20]) == (top.bids, top.asks)
        assert (len(bids), len(asks)) == (25, 25)
        assert run.report("checksum_failed") == 0
        ids = [trade.trade_id for trade in run.bodies("trades")]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        await eventually(lambda: run.statuses.state() == "live")


async def test_the_aggressor_agrees_with_the_markets_own_word() -> None:
    async with simulated("kraken") as run:
        await live(run)
        await eventually(lambda: len(run.bodies("trades")) > 20)
        market = run.server.streams["BTC/USD"].market
        truth = {one.trade_id: one for one in market.recent_trades}
        for trade in run.bodies("trades"):
            expected = "sell" if truth[trade.trade_id].buyer_is_maker else "buy"
            assert trade.aggressor_side == expected


async def test_trades_of_before_are_not_published() -> None:
    async with simulated("kraken") as run:
        market = run.server.streams["BTC/USD"].market
        await eventually(lambda: len(market.recent_trades) > 5)
        before = market.recent_trades[-1].trade_id
        await run.fault("close", code=1012)
        await live(run)
        run.tap.messages.clear()
        await eventually(lambda: run.bodies("trades"))
        assert run.bodies("trades")[0].trade_id >= before


async def test_a_wrong_checksum_has_that_book_sent_anew_once() -> None:
    async with simulated("kraken") as run:
        await live(run, "BTC-USD", "ETH-USD")
        await run.fault("wrong_checksum", symbol="BTC/USD")
        await eventually(lambda: run.report("checksum_failed") == 1)
        await eventually(lambda: run.report("book_syncs") == 3)
        await live(run)
        assert run.statuses.states("ETH-USD") == ["connecting", "live"]
        reasons = [status.reason for name, status in run.statuses.said if name == "BTC-USD"]
        assert "checksum" in reasons
        run.book_of_depth()


async def test_a_lost_update_is_found_by_the_checksum() -> None:
    async with simulated("kraken", "BTC-USD", depth_limit=10, orderbook_levels=10) as run:
        await live(run)
        await run.fault("drop_diff", symbol="BTC/USD", count=3)
        await eventually(lambda: run.report("checksum_failed") >= 1)
        await eventually(lambda: run.report("book_syncs") >= 2)
        await live(run)
        run.book_of_depth()
        for book in run.bodies("orderbook"):
            assert book.bids[0][0] < book.asks[0][0]


async def test_checksums_wrong_again_and_again_are_asked_for_with_growing_pauses() -> None:
    async with simulated("kraken", "BTC-USD", retry_floor_s=0.3, retry_cap_s=5.0) as run:
        await live(run)
        await run.fault("wrong_checksum", symbol="BTC/USD", count=5_000)
        await eventually(lambda: run.report("checksum_failed") >= 3, timeout_s=20)
        assert run.server.traffic.messages_in <= 4 + 2 * run.report("checksum_failed")
        run.faults.clear()
        await eventually(lambda: run.statuses.state("BTC-USD") == "live", timeout_s=20)


def ids_of(run: SimulatedRun) -> list[int]:
    return sorted(trade.trade_id for trade in run.bodies("trades"))


async def test_lost_trades_are_had_again_from_the_last_fifty(loop_kind: str) -> None:
    async with simulated("kraken") as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        await run.fault("drop_trade", symbol="BTC/USD", count=3)
        await eventually(lambda: run.report("trades_repaired") == 3, timeout_s=15)
        ids = ids_of(run)
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert run.report("trades_lost") == 0
        assert run.statuses.states("BTC-USD") == ["connecting", "live"]


async def test_trades_missed_while_disconnected_are_told_after_it(loop_kind: str) -> None:
    async with simulated("kraken", retry_floor_s=0.5, retry_cap_s=0.5) as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        market = run.server.streams["BTC/USD"].market
        at = market.recent_trades[-1].trade_id
        await run.fault("abort")
        await eventually(lambda: run.report("connections") == 0)
        await eventually(lambda: run.report("reconnects") == 1)
        await eventually(lambda: ids_of(run)[-1] > at + 5)
        await eventually(lambda: not _sequence(run).missing)
        ids = ids_of(run)
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        published = [trade.trade_id for trade in run.bodies("trades")]
        assert published == ids, "in order: nothing newer was told before them"
        assert run.report("trades_lost") == 0


async def test_a_hole_longer_than_fifty_trades_is_a_loss_and_told() -> None:
    async with simulated("kraken") as run:
        await live(run)
        await eventually(lambda: run.bodies("trades"))
        sequence = _sequence(run)
        missing = ids_of(run)[0] - 100
        sequence._missing.append((missing, missing + 9))  # of long ago
        await eventually(lambda: run.report("trades_lost") == 10, timeout_s=15)
        await eventually(lambda: run.statuses.last("BTC-USD").reason == "trades_lost")
        assert "last 50 trades only" in (run.statuses.last("BTC-USD").detail or "")
        assert run.statuses.state("BTC-USD") == "live"


def _sequence(run: SimulatedRun) -> TradeSequence:
    feed = cast(KrakenFeed, run.venue_feed)
    return feed._served[0][1].instruments["BTC-USD"].trades.sequence


async def test_the_engine_in_maintenance_closes_every_pair() -> None:
    async with simulated("kraken") as run:
        await live(run, "BTC-USD", "ETH-USD")
        await run.fault("engine_status", system="maintenance")
        await eventually(lambda: run.statuses.last("ETH-USD").reason == "maintenance")
        await eventually(lambda: run.statuses.state() == "closed")
        run.faults.clear()
        await live(run, "BTC-USD", "ETH-USD")


async def test_a_reconnection_brings_every_book_back(loop_kind: str) -> None:
    async with simulated("kraken") as run:
        await live(run)
        await run.fault("abort")
        await eventually(lambda: run.report("reconnects") == 1)
        await live(run)
        assert run.statuses.states("BTC-USD") == ["connecting", "live", "recovering", "live"]
        assert [depth.is_snapshot for depth in run.bodies("depth")].count(True) == 2
        run.book_of_depth()


async def test_a_replaced_connection_leaves_no_hole() -> None:
    async with simulated("kraken") as run:
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


async def test_a_connection_that_is_silent_is_given_up() -> None:
    async with simulated("kraken", silent_connection_s=1.0) as run:
        await live(run)
        await run.fault("silence", seconds=3600)
        await eventually(
            lambda: any(status.reason == "silent" for _, status in run.statuses.said), timeout_s=15
        )
        run.faults.clear()
        await eventually(lambda: run.statuses.state("BTC-USD") == "live", timeout_s=15)


async def test_it_pings_when_it_has_said_nothing_for_long() -> None:
    async with simulated("kraken") as run:
        await live(run)
        connection = run.venue_feed._served[0][1]  # type: ignore[attr-defined]
        said = run.server.traffic.messages_in
        connection._requests._said_ns -= requests.PING_EVERY_NS
        await eventually(lambda: run.server.traffic.messages_in == said + 1)


async def test_strange_frames_are_counted_and_survived() -> None:
    async with simulated("kraken") as run:
        await live(run)
        for kind in ("garbage", "unknown_event", "big_frame"):
            await run.fault(kind)
        await eventually(lambda: run.feed.counters.malformed == 1)
        await eventually(lambda: run.feed.counters.unknown == 2)
        before = len(run.bodies("depth"))
        await eventually(lambda: len(run.bodies("depth")) > before)
        assert run.report("reconnects") == 0


async def test_a_misspelt_pair_is_down_and_the_others_go_on() -> None:
    async with simulated("kraken", "BTC-USD", "BTC-UDS") as run:
        await live(run)
        status = run.statuses.last("BTC-UDS")
        assert (status.state, status.reason) == ("down", "unknown_symbol")
        await eventually(lambda: run.statuses.last().detail == "1 live, 1 down")


async def test_when_the_broker_comes_back_whole_books_are_published() -> None:
    async with simulated("kraken") as run:
        await live(run)
        run.venue_feed.broker_attached()
        assert run.bodies("depth")[-1].is_snapshot


async def test_many_pairs_are_spread_over_connections() -> None:
    async with simulated("kraken", streams_per_connection=3) as run:
        await live(run, "BTC-USD", "ETH-USD")
        assert run.report("connections") == 2


def test_create_makes_a_feed_without_starting_it() -> None:
    assert isinstance(create(make_feed(Tap(), Statuses(), FeedSettings())).report(), dict)
