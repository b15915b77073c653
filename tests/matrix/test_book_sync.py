"""Joining snapshot and stream, and losing the thread: each symbol for itself."""

from __future__ import annotations

from bus.testing import eventually
from tests.matrix.stage import Stage, feed
from tests.matrix.watch import Watch

BTC, ETH, SOL = "BTC-USDT", "ETH-USDT", "SOL-USDT"
ALL = (BTC, ETH, SOL)


async def test_a_snapshot_newer_than_what_is_buffered(stage: Stage, watch: Watch) -> None:
    """The usual case: the reply is quicker than the next diff, which then bridges it."""
    async with feed(stage) as life:
        await watch.live(ALL)
        await eventually(lambda: watch.of[BTC].snapshots and watch.of[BTC].deltas)
        snapshot, first = watch.of[BTC].snapshots[0], watch.of[BTC].deltas[0]
        assert first.recv_ts_ns > snapshot.recv_ts_ns
        await watch.right(BTC)
        assert (life["book_syncs"], life["snapshots_too_old"], life["gaps"]) == (3, 0, 0)
        assert (life["book_audit_mismatch"], life["book_crossed"]) == (0, 0)
        await watch.untouched(ALL)


async def test_a_snapshot_inside_what_is_buffered(stage: Stage, watch: Watch) -> None:
    """A late reply shows an old book: the diffs buffered meanwhile bring it up to date."""
    await stage.fault("depth_delay", seconds=0.5)
    async with feed(stage) as life:
        await watch.live(ALL)
        for symbol in ALL:
            snapshot = watch.of[symbol].snapshots[0]
            caught_up = [
                tick for tick in watch.of[symbol].deltas if tick.recv_ts_ns <= snapshot.recv_ts_ns
            ]
            assert caught_up, f"{symbol}: nothing was buffered"
        await watch.right(BTC)
        assert (life["book_syncs"], life["snapshots_too_old"], life["gaps"]) == (3, 0, 0)
        assert life["book_audit_mismatch"] == 0
        await watch.untouched(ALL)


async def test_a_snapshot_older_than_what_is_buffered(stage: Stage, watch: Watch) -> None:
    """A diff is lost while the reply is on its way: no bridge, so it is refused, and asked anew."""
    await stage.fault("depth_delay", seconds=0.8)
    async with feed(stage, "feeds.binance.symbols=['BTC-USDT']") as life:
        await eventually(lambda: life.started and life["diffs_buffered"], 10)
        await stage.fault("drop_diff", symbol="BTCUSDT")
        await eventually(lambda: life["snapshots_too_old"] == 1, 10)
        await stage.fault("depth_delay", seconds=0)
        await watch.live([BTC])
        await watch.right(BTC)
        assert (life["book_syncs"], life["gaps"], life["rest_failures"]) == (1, 0, 0)
        assert life["book_audit_mismatch"] == 0
        await watch.untouched([BTC])


async def test_a_lost_diff_costs_one_symbol_its_book_and_the_others_nothing(
    stage: Stage, watch: Watch
) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        asked_s = await stage.fault("drop_diff", symbol="BTCUSDT")
        said = await watch.hears("recovering", symbol=BTC, since_s=asked_s, reason="gap")
        await watch.hears("live", symbol=BTC, since_s=said.at_s)
        await watch.right(BTC)
        assert (life["gaps"], life["resyncs"], life["duplicates"]) == (1, 1, 0)
        assert watch.of[BTC].lost == 1
        await watch.untouched((ETH, SOL))
        assert watch.state() == "live"


async def test_a_repeated_diff_is_ignored(stage: Stage, watch: Watch) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        before = await stage.happened("repeat_diff")
        await stage.fault("repeat_diff", symbol="BTCUSDT", count=3)
        await eventually(lambda: _done(stage, "repeat_diff", before + 3), 10)
        await watch.right(BTC)
        assert (life["gaps"], life["resyncs"]) == (0, 0)
        await watch.untouched(ALL)


async def test_swapped_diffs_are_a_gap_and_the_late_one_harms_nothing(
    stage: Stage, watch: Watch
) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        asked_s = await stage.fault("swap_diff", symbol="BTCUSDT")
        said = await watch.hears("recovering", symbol=BTC, since_s=asked_s, reason="gap")
        await watch.hears("live", symbol=BTC, since_s=said.at_s)
        await watch.right(BTC)
        assert (life["gaps"], life["resyncs"]) == (1, 1)
        await watch.untouched((ETH, SOL))


async def _done(stage: Stage, kind: str, count: int) -> bool:
    return await stage.happened(kind) >= count
