"""Connections that end, fall silent or are replaced: what of it a consumer notices."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.testing import eventually
from tests.matrix.relay import Relay, relay_to
from tests.matrix.stage import Stage, feed, staged
from tests.matrix.watch import Seen, Watch, unbroken, watching

BTC, ETH, SOL = "BTC-USDT", "ETH-USDT", "SOL-USDT"
ALL = (BTC, ETH, SOL)
QUICK = ("feeds.binance.retry_floor_s=0.05", "feeds.binance.retry_cap_s=0.1")
PATIENT = ("feeds.binance.retry_floor_s=0.05", "feeds.binance.retry_cap_s=2.0")
"""For an outage that lasts: else it uses up the attempts of five minutes."""


@pytest.fixture
def busy() -> Iterator[Stage]:
    """A market with hundreds of trades a second, on a stage of its own."""
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        with staged(run_dir, activity=40.0) as stage:
            yield stage
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


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
        floods = (await stage.state())["figures"]["binance_flood_clients"]
        # On a machine that stands still what the feed has spread over two seconds comes at once.
        assert life["reconnects"] == floods


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


async def test_trades_of_an_outage_are_told_after_it_each_once(stage: Stage, watch: Watch) -> None:
    """Cut, and no way back for a while in which the market goes on."""
    async with (
        relay_to(stage.port) as relay,
        feed(stage, f"simulator.ports.binance={relay.port}", *QUICK) as life,
    ):
        await watch.live(ALL)
        seen = watch.of[BTC]
        await watch.until(lambda: seen.trades, 15, "a trade")
        missed_from, missed_to = await outage(stage, relay, seen, 20)
        await watch.until(lambda: seen.trade_ids[-1:] and int(life["trades_repaired"]) > 0, 20)
        await watch.until(lambda: whole(seen.trade_ids, missed_to), 20, "every trade")
        ids = seen.trade_ids
        assert len(set(ids)) == len(ids), "a trade came twice"
        assert {*range(missed_from, missed_to + 1)} <= {*ids}
        assert seen.price_steps_back == 0
        assert (life["trades_lost"], life["trade_ids_skipped"]) == (0, 0)
        assert "trades_lost" not in {said.reason for said in watch.said}
        await watch.live(ALL)


async def test_more_missed_trades_than_the_venue_tells_are_a_stated_loss(
    busy: Stage,
) -> None:
    async with (
        relay_to(busy.port) as relay,
        watching(busy.subscribe) as watch,
        feed(busy, f"simulator.ports.binance={relay.port}", *PATIENT) as life,
    ):
        await watch.live(ALL)
        seen = watch.of[BTC]
        await watch.until(lambda: seen.trades, 15, "a trade")
        await outage(busy, relay, seen, 1_300)
        await watch.until(lambda: int(life["trades_lost"]) > 0, 20, "a loss")
        said = await watch.hears(
            "live", symbol=BTC, since_s=watch.said[0].at_s, within_s=60, reason="trades_lost"
        )
        told = re.fullmatch(
            r"(\d+) trades lost, ids (\d+) to (\d+): the venue tells its last 1000 trades only",
            said.detail,
        )
        assert told is not None, said.detail
        count, first_id, last_id = map(int, told.groups())
        assert count == last_id - first_id + 1 > 0
        await watch.until(
            lambda: not gaps_of(seen.trade_ids) - {*range(first_id, last_id + 1)}, 20, "the rest"
        )
        ids = seen.trade_ids
        assert len(set(ids)) == len(ids), "a trade came twice"
        assert not {*ids} & {*range(first_id, last_id + 1)}, "what was lost has come"
        assert seen.price_steps_back == 0


async def outage(stage: Stage, relay: Relay, seen: Seen, trades: int) -> tuple[int, int]:
    """Cut the connection until so many more trades have happened; the ids missed for certain."""
    relay.refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    await stage.fault("abort")
    handshakes = relay.handshakes
    await eventually(lambda: relay.handshakes > handshakes, 15, "an attempt to come back")
    first_id = await last_trade(stage) + 1

    async def enough() -> bool:
        return await last_trade(stage) >= first_id + trades

    await eventually(enough, 60, "trades while the connection is down")
    last_id = await last_trade(stage)
    assert first_id not in seen.trade_ids
    relay.refusal = b""
    return first_id, last_id


async def last_trade(stage: Stage) -> int:
    (trade,) = await asyncio.to_thread(
        lambda: stage.get("/api/v3/trades", symbol="BTCUSDT", limit=1)
    )
    trade_id: int = trade["id"]
    return trade_id


def gaps_of(ids: list[object]) -> set[int]:
    """Ids between the first and the last that are not there."""
    numbers = {number for number in ids if isinstance(number, int)}
    return {*range(min(numbers), max(numbers) + 1)} - numbers


def whole(ids: list[object], last_id: int) -> bool:
    """Whether all up to ``last_id`` have come."""
    return last_id in ids and not gaps_of(ids)


async def _alone(stage: Stage) -> bool:
    return len((await stage.state())["clients"]) == 1


def _seconds_between(last_recv_ns: int, watch: Watch) -> float:
    """From the last market data received to the status that says it is missing."""
    status = watch.last["sys/status/binance/"]
    return (status.recv_ts_ns - last_recv_ns) / 1e9
