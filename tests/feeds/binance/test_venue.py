"""The whole Binance feed against a server that speaks the venue's bytes and has its faults."""

from __future__ import annotations

import pytest

from bus.config import FeedSettings
from bus.feeds.binance.venue import create
from bus.model import Depth, OrderBook, Status
from bus.testing import eventually
from tests.feeds.binance.binance_server import (
    Binance,
    Running,
    exchange_info,
    running_feed,
    snapshot,
)
from tests.feeds.tap import Statuses, Tap, make_feed

BTC_DEPTH, ETH_DEPTH = "md/depth/sim/BTC-USDT/", "md/depth/sim/ETH-USDT/"
BTC_TRADES, BTC_BOOK = "md/trades/sim/BTC-USDT/", "md/orderbook/sim/BTC-USDT/"
EVERYTHING = [
    f"{symbol}@{kind}"
    for symbol in ("btcusdt", "ethusdt")
    for kind in ("trade", "bookTicker", "ticker", "depth@100ms")
]


async def both_synced(run: Running) -> None:
    """Both books joined at 100, then at 101."""
    await eventually(lambda: len(run.binance.subscribed) >= 8)
    for venue_symbol in ("BTCUSDT", "ETHUSDT"):
        run.binance.diff(venue_symbol, 101, 101)
    await eventually(lambda: run.tap.bodies(BTC_DEPTH) and run.tap.bodies(ETH_DEPTH))
    await eventually(lambda: run.statuses.state("BTC-USDT") == "live")
    await eventually(lambda: run.statuses.state("ETH-USDT") == "live")


async def test_it_subscribes_in_one_message_and_goes_live(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        assert len(run.venue.messages) == 1
        assert run.binance.subscribed == EVERYTHING
        assert run.venue.handshakes == ["/stream"]
        assert run.tap.bodies(BTC_DEPTH) == [
            Depth(100, 100, [(99.0, 1.0)], [(101.0, 1.0)], True),
            Depth(101, 101, [(99.0, 101.0)], [], False),
        ]
        assert run.tap.bodies(BTC_BOOK)[-1] == OrderBook(101, [(99.0, 101.0)], [(101.0, 1.0)])
        assert run.statuses.states("BTC-USDT") == ["connecting", "live"]
        await eventually(lambda: run.statuses.states() == ["connecting", "live"])
        assert run.binance.depth_requests("BTCUSDT") == 1


async def test_after_a_reset_books_are_rebuilt_from_new_snapshots(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance.snapshots["BTCUSDT"] = [snapshot(200)]
        run.venue.abort_all()
        await eventually(lambda: run.binance.subscribed == EVERYTHING * 2)
        run.binance.diff("BTCUSDT", 200, 202)
        await eventually(lambda: run.tap.bodies(BTC_DEPTH)[-1].last_venue_seq == 202)
        assert [body.is_snapshot for body in run.tap.bodies(BTC_DEPTH)] == [
            True,
            False,
            True,
            False,
        ]
        await eventually(
            lambda: run.statuses.states("BTC-USDT") == ["connecting", "live", "recovering", "live"]
        )
        assert run.report("reconnects") == 1


async def test_a_gap_resyncs_the_symbol_it_hit_and_no_other(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance.snapshots["BTCUSDT"] = [snapshot(110)]
        run.binance.diff("BTCUSDT", 105, 111)  # 102 to 104 are missing
        run.binance.diff("ETHUSDT", 102, 102)
        await eventually(lambda: run.tap.bodies(BTC_DEPTH)[-1].last_venue_seq == 111)
        assert [body.is_snapshot for body in run.tap.bodies(BTC_DEPTH)] == [
            True,
            False,
            True,
            False,
        ]
        assert [body.is_snapshot for body in run.tap.bodies(ETH_DEPTH)] == [True, False, False]
        assert run.binance.depth_requests("BTCUSDT") == 2
        assert run.binance.depth_requests("ETHUSDT") == 1
        assert run.venue.opened == 1
        assert "recovering" in run.statuses.states("BTC-USDT")
        assert run.statuses.states("ETH-USDT") == ["connecting", "live"]
        assert run.feed.counters.gaps == 1


async def test_a_snapshot_older_than_the_buffer_is_fetched_again() -> None:
    def prepare(binance: Binance) -> None:
        binance.snapshots["BTCUSDT"] = [snapshot(50), snapshot(60), snapshot(100)]

    async with running_feed(prepare) as run:
        await both_synced(run)
        assert run.binance.depth_requests("BTCUSDT") == 3
        assert run.tap.bodies(BTC_DEPTH)[0].last_venue_seq == 100
        assert run.report("snapshots_too_old") == 2


async def test_diffs_that_come_before_the_snapshot_are_kept(loop_kind: str) -> None:
    async with running_feed() as run:
        await eventually(lambda: len(run.binance.subscribed) >= 8)
        run.binance.snapshots["BTCUSDT"] = [snapshot(500)]
        for last in range(1, 1_001):  # all of them before the snapshot can be answered
            run.binance.diff("BTCUSDT", last, last)
        await eventually(
            lambda: (
                run.tap.bodies(BTC_DEPTH) and run.tap.bodies(BTC_DEPTH)[-1].last_venue_seq == 1_000
            )
        )
        ids = [body.last_venue_seq for body in run.tap.bodies(BTC_DEPTH) if not body.is_snapshot]
        assert ids == list(range(501, 1_001))


async def test_a_limited_snapshot_waits_for_retry_after_and_streams_go_on() -> None:
    def prepare(binance: Binance) -> None:
        limited = (429, {"Retry-After": "1"}, b'{"code":-1003,"msg":"Too much request weight"}')
        binance.snapshots["BTCUSDT"] = [limited, snapshot(100)]

    async with running_feed(prepare, symbols=("BTC-USDT",)) as run:
        await eventually(lambda: len(run.binance.subscribed) == 4)
        run.binance.diff("BTCUSDT", 101, 101)
        await eventually(lambda: run.binance.depth_requests("BTCUSDT") == 1)
        run.binance.trade("BTCUSDT", 1)
        await eventually(lambda: run.tap.bodies(BTC_TRADES))
        assert run.tap.bodies(BTC_DEPTH) == []
        await eventually(lambda: run.report("rest_blocked_s") > 0)
        await eventually(lambda: run.statuses.last("BTC-USDT").reason == "snapshot_limited")
        await eventually(lambda: run.tap.bodies(BTC_DEPTH))
        assert run.binance.depth_requests("BTCUSDT") == 2


async def test_a_malformed_snapshot_is_fetched_again() -> None:
    def prepare(binance: Binance) -> None:
        binance.snapshots["BTCUSDT"] = [(200, {}, b"<html>"), snapshot(100)]

    async with running_feed(prepare) as run:
        await both_synced(run)
        assert run.binance.depth_requests("BTCUSDT") == 2


async def test_garbage_and_unknown_events_are_counted_and_nothing_else(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.venue.say(
            b"\xff\xfe garbage",
            "{}",
            '{"stream":"btcusdt@trade","data":{"p":"nan"}}',
            '{"stream":"btcusdt@kline_1m","data":{}}',
            '{"stream":"xrpusdt@trade","data":{"t":1,"p":"1","q":"1","T":1,"m":true}}',
        )
        run.binance.trade("BTCUSDT", 1)
        await eventually(lambda: len(run.tap.bodies(BTC_TRADES)) == 1)
        assert run.feed.counters.malformed == 2
        assert run.feed.counters.unknown == 3
        assert run.venue.opened == 1
        assert run.statuses.state("BTC-USDT") == "live"


async def test_a_refused_subscription_is_logged_and_survived(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.venue.say('{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}')
        run.binance.trade("BTCUSDT", 1)
        await eventually(lambda: run.tap.bodies(BTC_TRADES))
    assert "Too many subscriptions" in capfd.readouterr().err


async def test_a_silent_stream_is_stale_while_the_others_are_live() -> None:
    async with running_feed(
        stale_depth_s=1.5, stale_trades_s=0, stale_quote_s=0, stale_ticker_s=0
    ) as run:
        await both_synced(run)
        last = 101

        def keep_eth_going() -> bool:
            nonlocal last
            last += 1
            run.binance.diff("ETHUSDT", last, last)
            return run.statuses.state("BTC-USDT") == "stale"

        await eventually(keep_eth_going)
        assert run.statuses.last("BTC-USDT").detail == "no data of: depth@100ms"
        assert run.statuses.state("ETH-USDT") == "live"
        assert run.venue.opened == 1
        unsubscribed = [text for text in run.venue.messages if '"UNSUBSCRIBE"' in text]
        asked = ["btcusdt@depth@100ms"]
        await eventually(lambda: keep_eth_going() and run.binance.subscribed[8:] == asked)
        assert len(unsubscribed) <= 1
        run.binance.diff("BTCUSDT", 102, 102)
        await eventually(lambda: run.statuses.state("BTC-USDT") == "live")


async def test_a_connection_that_never_says_a_word_is_replaced() -> None:
    def prepare(binance: Binance) -> None:
        binance.acknowledge = False

    async with running_feed(prepare, silent_connection_s=1.0) as run:
        await eventually(lambda: run.venue.opened >= 2)
        assert any(status.reason == "silent" for _, status in run.statuses.said)


async def test_the_shutdown_notice_brings_a_new_connection_without_a_hole() -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.venue.say('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
        await eventually(lambda: run.binance.subscribed == EVERYTHING * 2)
        for to in (0, 1):  # for a moment both bring the same
            run.binance.everything("BTCUSDT", 1, to=to)
            run.binance.everything("ETHUSDT", 1, to=to)
        await eventually(lambda: len(run.venue.open) == 1)
        run.binance.trade("BTCUSDT", 2)
        run.binance.diff("BTCUSDT", 103, 103)
        await eventually(lambda: len(run.tap.bodies(BTC_TRADES)) == 2)
        await eventually(lambda: run.tap.bodies(BTC_DEPTH)[-1].last_venue_seq == 103)
        assert [body.is_snapshot for body in run.tap.bodies(BTC_DEPTH)] == [True] + [False] * 3
        assert run.statuses.states("BTC-USDT") == ["connecting", "live"]
        assert run.binance.depth_requests("BTCUSDT") == 1


async def test_a_misspelt_symbol_is_down_and_the_others_go_on() -> None:
    def prepare(binance: Binance) -> None:
        binance.info = exchange_info("BTC-USDT", "ETH-USDT")

    async with running_feed(prepare, symbols=("BTC-USDT", "ETH-UDST", "ETH-USDT")) as run:
        await both_synced(run)
        status = run.statuses.last("ETH-UDST")
        assert (status.state, status.reason) == ("down", "unknown_symbol")
        assert status.detail == "the venue lists no ETH-UDST; nearest: ETH-USDT, BTC-USDT"
        assert run.binance.subscribed == EVERYTHING
        await eventually(lambda: run.statuses.state() == "live")


async def test_streams_run_while_the_list_of_symbols_cannot_be_had() -> None:
    def prepare(binance: Binance) -> None:
        binance.info = (503, {}, b"")

    async with running_feed(prepare, symbols=("BTC-USDT", "NO-SUCH")) as run:
        await eventually(lambda: len(run.binance.subscribed) >= 8)
        run.binance.trade("BTCUSDT", 1)
        await eventually(lambda: run.tap.bodies(BTC_TRADES))
        run.binance.info = None
        await eventually(
            lambda: any(
                name == "NO-SUCH" and status.state == "down" for name, status in run.statuses.said
            )
        )
        run.binance.trade("BTCUSDT", 2)
        await eventually(lambda: len(run.tap.bodies(BTC_TRADES)) == 2)


async def test_a_venue_out_of_reach_is_down_after_a_few_attempts_and_comes_back() -> None:
    async with running_feed() as run:
        await both_synced(run)
        await run.venue.stop()
        await eventually(
            lambda: run.statuses.states("BTC-USDT") == ["connecting", "live", "recovering", "down"]
        )
        run.binance.snapshots["BTCUSDT"] = [snapshot(100)]
        await run.venue.start()
        await eventually(lambda: len(run.binance.subscribed) >= 16)
        run.binance.diff("BTCUSDT", 101, 101)
        await eventually(lambda: run.statuses.state("BTC-USDT") == "live")


async def test_many_symbols_are_spread_over_connections() -> None:
    async with running_feed(streams_per_connection=4) as run:
        await eventually(lambda: len(run.venue.messages) == 2)
        assert run.venue.opened == 2
        assert sorted(run.binance.subscribed) == sorted(EVERYTHING)
        assert run.report("connections") == 2


async def test_when_the_broker_comes_back_whole_books_are_published() -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance_feed.broker_attached()
        assert run.tap.bodies(BTC_DEPTH)[-1] == Depth(
            101, 101, [(99.0, 101.0)], [(101.0, 1.0)], True
        )


async def test_a_quiet_symbol_gets_its_book_without_a_first_diff(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bus.feeds.numbered_connection.QUIET_BOOK_NS", 0)
    async with running_feed() as run:
        await eventually(lambda: run.tap.bodies(BTC_DEPTH))
        assert run.tap.bodies(BTC_DEPTH)[0].is_snapshot


async def test_a_feed_says_that_it_starts() -> None:
    async with running_feed() as run:
        await eventually(lambda: run.statuses.said)
        assert run.statuses.said[0] == (
            "",
            Status("connecting", "starting", run.statuses.said[0][1].since_ts_ns, None),
        )


def test_create_makes_a_feed_without_starting_it() -> None:
    assert isinstance(create(make_feed(Tap(), Statuses(), FeedSettings())).report(), dict)


def ids_of(run: Running) -> list[int]:
    return [trade.trade_id for trade in run.tap.bodies(BTC_TRADES)]


async def test_trades_missed_while_a_connection_is_down_are_fetched(loop_kind: str) -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance.trade("BTCUSDT", 10, "10")
        await eventually(lambda: ids_of(run) == [10])
        run.venue.abort_all()
        await eventually(lambda: run.binance.subscribed == EVERYTHING * 2)
        run.binance.traded["BTCUSDT"] = list(range(1, 16))
        run.binance.trade("BTCUSDT", 14, "14")
        await eventually(lambda: len(ids_of(run)) == 5)
        run.binance.trade("BTCUSDT", 15, "15")
        await eventually(lambda: ids_of(run) == [10, 14, 11, 12, 13, 15])
        prices = [price.price for price in run.tap.bodies("md/price/sim/BTC-USDT/")]
        assert prices == [10.0, 14.0, 15.0]
        names = ("trade_gaps", "trades_repaired", "trades_lost", "trade_ids_skipped")
        assert [run.report(name) for name in names] == [1, 3, 0, 0]
        asked = [query for path, query in run.venue.requests if path == "/api/v3/trades"]
        assert asked == [{"symbol": "BTCUSDT", "limit": "1000"}]
        assert "trades_lost" not in {status.reason for _, status in run.statuses.said}


async def test_what_the_venue_tells_no_more_is_a_loss_stated_at_once() -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.binance.trade("BTCUSDT", 10)
        await eventually(lambda: ids_of(run) == [10])
        run.binance.traded["BTCUSDT"] = list(range(1, 2_001))
        run.binance.trade("BTCUSDT", 2_000)
        await eventually(lambda: run.report("trades_lost") == 990)
        assert sorted(ids_of(run)) == [10, *range(1_001, 2_001)]
        await eventually(lambda: run.statuses.last("BTC-USDT").reason == "trades_lost")
        said = run.statuses.last("BTC-USDT")
        words = "990 trades lost, ids 11 to 1000: the venue tells its last 1000 trades only"
        assert (said.state, said.detail) == ("live", words)
        assert run.statuses.last("ETH-USDT").reason != "trades_lost"
        assert sum(path == "/api/v3/trades" for path, _ in run.venue.requests) == 1


async def test_trades_that_cannot_be_asked_for_are_a_loss_after_some_tries() -> None:
    async with running_feed() as run:
        await both_synced(run)
        run.venue.rest = lambda path, query: (500, {}, b"{}")
        run.binance.trade("BTCUSDT", 10)
        run.binance.trade("BTCUSDT", 12)
        await eventually(lambda: run.report("trades_lost") == 1, timeout_s=20)
        await eventually(lambda: run.statuses.last("BTC-USDT").reason == "trades_lost")
        assert "venue (500)" in (run.statuses.last("BTC-USDT").detail or "")
