"""Connections that end, fall silent or are replaced: what of it a consumer notices."""

from __future__ import annotations

import pytest

from bus.testing import eventually
from tests.matrix.relay import relay_to
from tests.matrix.stage import Stage, feed
from tests.matrix.watch import Watch, unbroken

BTC, ETH, SOL = "BTC-USDT", "ETH-USDT", "SOL-USDT"
ALL = (BTC, ETH, SOL)


async def test_a_half_open_connection_is_given_up_and_replaced(stage: Stage, watch: Watch) -> None:
    """No byte either way, no FIN, no reset: only the clock can tell."""
    async with (
        relay_to(stage.port) as relay,
        feed(
            stage,
            f"simulator.ports.binance={relay.port}",
            "feeds.binance.silent_connection_s=1",
        ) as life,
    ):
        await watch.live(ALL)
        relay.freeze()
        frozen_s = max(tick.recv_ts_ns for tick in watch.last.values())
        said = await watch.hears("recovering", since_s=watch.said[-1].at_s, within_s=20.0)
        assert said.reason == "silent"
        late_s = _seconds_between(frozen_s, watch)
        assert 1.0 <= late_s <= 2.0, f"said {late_s:.2f} s after the last byte"
        await watch.hears("live", since_s=said.at_s, within_s=2.0)
        await watch.right(BTC)
        assert life["reconnects"] == 1


async def test_a_venue_that_keeps_the_sockets_and_says_nothing(stage: Stage, watch: Watch) -> None:
    async with feed(
        stage,
        "feeds.binance.stale_depth_s=0.5",
        "feeds.binance.stale_quote_s=0.7",
        "feeds.binance.silent_connection_s=30",
    ) as life:
        await watch.live(ALL)
        asked_s = await stage.fault("silence", seconds=1.5)
        for symbol in ALL:
            said = await watch.hears(
                "stale", symbol=symbol, since_s=asked_s, within_s=1.5, reason="silent"
            )
            assert said.detail.startswith("no data of: ")
        await watch.hears("stale", since_s=asked_s, within_s=2.0)  # the feed itself as well
        for symbol in ALL:
            await watch.hears("live", symbol=symbol, since_s=said.at_s, within_s=4.0)
        await watch.live(ALL)
        await watch.right(BTC)
        assert life["reconnects"] == 0


async def test_one_silent_stream_among_many(stage: Stage, watch: Watch) -> None:
    """The symbol is stale and says which stream; everything else goes on, its own quotes too."""
    async with feed(stage, "feeds.binance.stale_depth_s=0.5") as life:
        await watch.live(ALL)
        asked_s = await stage.fault("silence", stream="ethusdt@depth@100ms", seconds=1.5)
        said = await watch.hears(
            "stale", symbol=ETH, since_s=asked_s, within_s=1.5, reason="silent"
        )
        assert said.detail == "no data of: depth@100ms"
        quotes = len(watch.of[ETH].quotes)
        await watch.hears("live", symbol=ETH, since_s=said.at_s, within_s=3.0)
        assert len(watch.of[ETH].quotes) > quotes
        await watch.right(ETH)
        await watch.untouched((BTC, SOL))
        assert unbroken(watch.of[ETH].trade_ids)
        assert life["stale_streams"] == 1
        assert life["reconnects"] == 0


@pytest.mark.parametrize(
    ("kind", "query", "words"),
    [
        ("abort", {}, "closed with code 1006"),
        ("close", {"code": 1008, "reason": "Too many requests"}, "1008: Too many requests"),
    ],
)
async def test_a_connection_that_ends_is_told_with_its_code_and_made_again(
    stage: Stage, watch: Watch, kind: str, query: dict[str, int | str], words: str
) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        asked_s = await stage.fault(kind, **query)
        said = await watch.hears("recovering", since_s=asked_s, reason="closed")
        assert words in said.detail
        for symbol in ALL:
            await watch.hears("recovering", symbol=symbol, since_s=asked_s)
        await watch.hears("live", since_s=said.at_s, within_s=3.0)
        await watch.live(ALL)
        for symbol in ALL:
            await watch.right(symbol)
            ids = watch.of[symbol].trade_ids
            assert len(set(ids)) == len(ids), "a trade came twice"
        assert (life["reconnects"], life["resyncs"]) == (1, 3)


async def test_an_announced_shutdown_costs_nothing(stage: Stage, watch: Watch) -> None:
    async with feed(stage) as life:
        await watch.live(ALL)
        total = await stage.connections_total()
        await stage.fault("server_shutdown", close_after_s=1.5)
        await eventually(lambda: life["reconnects"] == 1, 5)
        assert await stage.connections_total() == total + 1
        await eventually(lambda: _alone(stage), 5, "the old connection is closed")
        await watch.ticks_go_on(ALL)
        await watch.right(BTC)
        await watch.untouched(ALL)
        assert (life["gaps"], life["resyncs"]) == (0, 0)


async def test_rotation_loses_and_repeats_nothing(stage: Stage, watch: Watch) -> None:
    """Two changes of connection within seconds, each with an overlap, in mid-stream."""
    async with feed(stage, "feeds.binance.rotate_after_s=0.8") as life:
        await watch.live(ALL)
        await eventually(lambda: int(life["reconnects"]) >= 2, 20)
        await watch.ticks_go_on(ALL)
        await watch.right(BTC)
        await watch.untouched(ALL)
        assert int(life["duplicates"]) > 0, "the connections never overlapped"
        assert (life["gaps"], life["resyncs"]) == (0, 0)
        assert watch.state() == "live"


async def _alone(stage: Stage) -> bool:
    return len((await stage.state())["clients"]) == 1


def _seconds_between(last_recv_ns: int, watch: Watch) -> float:
    """From the last market data received to the status that says it is missing."""
    status = watch.last["sys/status/binance/"]
    return (status.recv_ts_ns - last_recv_ns) / 1e9
