"""Frames that are repeated, huge, or stamped by a clock that is wrong."""

from __future__ import annotations

import json
from statistics import median

import pytest
from websockets.asyncio.server import ServerConnection

from bus.model import Depth
from bus.testing import eventually
from tests.feeds.fake_venue import RestAnswer, fake_venue, ok
from tests.matrix.stage import Stage, feed
from tests.matrix.watch import Watch

BTC, ETH, SOL = "BTC-USDT", "ETH-USDT", "SOL-USDT"
ALL = (BTC, ETH, SOL)
LEVELS = 100_000


async def test_a_finnhub_frame_sent_three_times_is_one_and_equal_trades_inside_are_two(
    stage: Stage, watch: Watch
) -> None:
    trade = {"s": "AAPL", "p": 129.58, "t": 1_672_348_887_666, "v": 4, "c": ["1", "24", "12"]}
    frame = json.dumps({"type": "trade", "data": [trade, trade]})
    async with (
        fake_venue() as venue,
        feed(
            stage,
            f"simulator.ports.finnhub={venue.port}",
            "feeds.finnhub.enabled=true",
            "feeds.finnhub.symbols=['AAPL']",
            name="feed.finnhub",
        ) as life,
    ):
        await eventually(lambda: any("AAPL" in text for text in venue.messages), 10)
        venue.say(frame, frame, frame)
        venue.say(json.dumps({"type": "trade", "data": [{**trade, "t": trade["t"], "p": 130}]}))
        await eventually(lambda: len(watch.of["AAPL"].trades) >= 3, 10)
        prices = [tick.body.price for tick in watch.of["AAPL"].trades]  # type: ignore[union-attr]
        assert prices == [129.58, 129.58, 130.0]
        assert life["duplicates"] == 2
        await watch.live(["AAPL"])


async def test_an_unknown_frame_of_five_megabytes_stops_nothing(stage: Stage, watch: Watch) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        await stage.fault("big_frame", bytes=5_000_000)
        await eventually(lambda: life["unknown"] == 1, 10)
        await watch.ticks_go_on(ALL)
        await watch.right(BTC)
        await watch.untouched(ALL)
        assert (life["reconnects"], life["malformed"], life["gaps"]) == (0, 0, 0)


async def test_a_book_change_of_five_megabytes_arrives_whole(stage: Stage, watch: Watch) -> None:
    """100,000 levels in one diff, as a venue's first frame of the day may bring them."""
    snapshot = {"lastUpdateId": 100, "bids": [["50.0", "1.0"]], "asks": [["60.0", "1.0"]]}
    symbol = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}

    def rest(path: str, query: dict[str, str]) -> RestAnswer:
        return ok(snapshot if path.endswith("depth") else {"symbols": [symbol]})

    def diff(first_id: int, last_id: int, levels: int) -> str:
        bids = [[f"{49 - at / 10_000:.8f}", "1.00000000"] for at in range(levels)]
        asks = [[f"{61 + at / 10_000:.8f}", "1.00000000"] for at in range(levels)]
        data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first_id, "u": last_id}
        return json.dumps({"stream": "btcusdt@depth@100ms", "data": {**data, "b": bids, "a": asks}})

    def greet(connection: ServerConnection, message: str) -> None:
        if "SUBSCRIBE" in message:
            venue.say(diff(100, 101, 1))

    async with fake_venue() as venue:
        venue.rest, venue.on_message = rest, greet
        async with feed(
            stage,
            f"simulator.ports.binance={venue.port}",
            "feeds.binance.symbols=['BTC-USDT']",
            "feeds.binance.book_max_levels=200000",
        ) as life:
            await eventually(lambda: watch.of[BTC].depth_id == 101, 10)
            text = diff(102, 103, LEVELS // 2)
            assert len(text) > 3_000_000
            venue.say(text, diff(104, 104, 1))
            await eventually(lambda: watch.of[BTC].depth_id == 104, 20)
            bodies = [tick.body for tick in watch.of[BTC].deltas]
            sizes = [len(body.bids) for body in bodies if isinstance(body, Depth)]
            assert sizes == [1, LEVELS // 2, 1]
            assert (life["gaps"], life["reconnects"]) == (0, 0)


@pytest.mark.parametrize(("skew_ms", "words"), [(1_270, "-1.3 s"), (-1_270, "+1.3 s")])
async def test_a_venue_whose_clock_is_off_is_shown_as_it_is(
    stage: Stage, watch: Watch, skew_ms: int, words: str
) -> None:
    """1.27 s ahead, data seem to arrive before they were sent: told in the status, not clamped."""
    await stage.fault("clock_skew", ms=skew_ms)
    async with feed(stage) as life:
        await watch.live(ALL)
        live_s = watch.said[-1].at_s
        await watch.until(lambda: len(watch.of[BTC].deltas) > 8, 10)
        late_ms = [
            (tick.recv_ts_ns - tick.venue_ts_ns) / 1e6
            for tick in watch.of[BTC].deltas
            if tick.venue_ts_ns is not None
        ]
        assert abs(median(late_ms) + skew_ms) < 150, late_ms
        await watch.hears("live", since_s=live_s, detail=f"clocks differ by {words}")
        await watch.right(BTC)
        await watch.untouched(ALL)
        assert (life["gaps"], life["reconnects"], life["stale_streams"]) == (0, 0, 0)
