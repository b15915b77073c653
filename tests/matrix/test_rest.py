"""A venue that refuses REST: streams go on, books wait as long as they are told, and say so."""

from __future__ import annotations

import pytest

from bus.testing import eventually
from tests.matrix.stage import Stage, feed
from tests.matrix.watch import Watch

BTC, ETH, SOL = "BTC-USDT", "ETH-USDT", "SOL-USDT"
ALL = (BTC, ETH, SOL)


@pytest.mark.parametrize(("status", "word"), [(429, "limited"), (418, "banned")])
async def test_a_resync_waits_out_retry_after_and_the_rest_of_the_symbol_goes_on(
    stage: Stage, watch: Watch, status: int, word: str
) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        before = await stage.happened(f"rest_{status}")
        refused_s = await stage.fault(f"rest_{status}", seconds=2)
        asked_s = await stage.fault("drop_diff", symbol="BTCUSDT")
        said = await watch.hears(
            "recovering", symbol=BTC, since_s=asked_s, reason=f"snapshot_{word}"
        )
        trades, quotes = len(watch.of[BTC].trades), len(watch.of[BTC].quotes)
        assert float(life["rest_blocked_s"]) > 0
        back = await watch.hears("live", symbol=BTC, since_s=said.at_s, within_s=6.0)
        assert back.at_s - refused_s >= 2.0, "asked before Retry-After was over"
        assert await stage.happened(f"rest_{status}") == before + 1, "asked while refused"
        assert len(watch.of[BTC].trades) > trades
        assert len(watch.of[BTC].quotes) > quotes
        await watch.right(BTC)
        await watch.untouched((ETH, SOL))
        assert (life["resyncs"], life["rest_failures"]) == (1, 1)


async def test_refused_from_the_start_the_streams_run_and_the_books_come_later(
    stage: Stage, watch: Watch
) -> None:
    await stage.fault("rest_418", seconds=2)
    async with feed(stage) as life:
        await eventually(lambda: watch.said, 10)
        said = await watch.hears(
            "connecting", symbol=BTC, since_s=watch.said[0].at_s, reason="snapshot_banned"
        )
        assert any(
            "3 books wait for their snapshot; REST banned (418) until" in words.detail
            for words in watch.after(watch.said[0].at_s)
        )
        await eventually(lambda: all(watch.of[symbol].quotes for symbol in ALL), 10)
        assert watch.of[BTC].snapshots == []
        await watch.hears("live", symbol=BTC, since_s=said.at_s, within_s=8.0)
        await watch.live(ALL)
        await watch.right(BTC)
        assert life["gaps"] == 0
