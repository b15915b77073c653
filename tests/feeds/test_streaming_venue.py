"""Symbols that come and go, and a feed that gives up: the same for every venue of this kind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.capture import Again, Frame
from bus.config import FeedSettings
from bus.feeds import skew
from bus.feeds.capture import start_capture
from bus.feeds.errors import CommandRefused
from bus.feeds.streaming_venue import CHECK_EVERY_S
from bus.testing import eventually
from tests.feeds.captured import capture_files, read_captured, read_file
from tests.feeds.simulated import SimulatedRun, simulated

VENUES = ("coinbase", "kraken")
WORLD = {"crypto_symbols": ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
each_venue = pytest.mark.parametrize("venue", VENUES)


async def live(run: SimulatedRun, *symbols: str) -> None:
    await eventually(lambda: {run.statuses.state(symbol) for symbol in symbols} == {"live"}, 20)


async def command(run: SimulatedRun, verb: str, *symbols: str) -> dict[str, Any]:
    answer: dict[str, Any] = await run.feed.commands[verb]({"symbols": list(symbols)})
    return answer


def whole(run: SimulatedRun, symbol: str) -> bool:
    """Whether a consumer of one symbol noticed nothing: no trade, no book change, no state."""
    ids = [trade.trade_id for trade in run.bodies("trades", symbol)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    run.book_of_depth(symbol)
    assert [depth.is_snapshot for depth in run.bodies("depth", symbol)].count(True) == 1
    assert run.statuses.states(symbol) == ["connecting", "live"]
    return True


@each_venue
async def test_a_symbol_is_added_on_the_open_connection_and_the_others_notice_nothing(
    venue: str, loop_kind: str
) -> None:
    async with simulated(venue, world=WORLD) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await eventually(lambda: run.bodies("trades") and run.bodies("trades", "ETH-USD"))
        answer = await command(run, "add_symbols", "SOL-USD", "ETH-USD")
        assert answer == {"symbols": ["BTC-USD", "ETH-USD", "SOL-USD"], "refused": []}
        await live(run, "SOL-USD")
        await eventually(lambda: run.bodies("trades", "SOL-USD"))
        (described,) = run.bodies("instrument", "SOL-USD")
        assert described.base == "SOL"
        before = len(run.bodies("trades"))
        await eventually(lambda: len(run.bodies("trades")) > before + 5)
        assert whole(run, "BTC-USD")
        assert whole(run, "ETH-USD")
        assert run.report("connections") == 1
        assert run.server.traffic.connections_total == 1


@each_venue
async def test_a_removed_symbol_falls_silent_and_its_late_frames_are_no_surprise(
    venue: str, loop_kind: str
) -> None:
    async with simulated(venue) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await eventually(lambda: run.bodies("trades") and run.bodies("trades", "ETH-USD"))
        answer = await command(run, "remove_symbols", "ETH-USD")
        assert answer == {"symbols": ["BTC-USD"], "refused": []}
        status = run.statuses.last("ETH-USD")
        assert (status.state, status.reason) == ("closed", "removed")
        told = len(run.bodies("trades", "ETH-USD"))
        subscribed = run.server.fanout.stream_count
        assert subscribed  # of BTC-USD
        before = len(run.bodies("trades"))
        await eventually(lambda: len(run.bodies("trades")) > before + 10)
        assert len(run.bodies("trades", "ETH-USD")) == told
        assert run.feed.counters.unknown == 0
        assert run.statuses.last("ETH-USD").reason == "removed"
        assert whole(run, "BTC-USD")


@each_venue
async def test_a_removed_symbol_can_come_back(venue: str) -> None:
    async with simulated(venue) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await command(run, "remove_symbols", "ETH-USD")
        await command(run, "add_symbols", "ETH-USD")
        await live(run, "ETH-USD")
        told = len(run.bodies("trades", "ETH-USD"))
        await eventually(lambda: len(run.bodies("trades", "ETH-USD")) > told)
        run.book_of_depth("ETH-USD")


@each_venue
async def test_a_symbol_beyond_a_connections_limit_gets_one_of_its_own(venue: str) -> None:
    async with simulated(venue, world=WORLD, streams_per_connection=8) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await command(run, "add_symbols", "SOL-USD")
        await live(run, "SOL-USD")
        assert run.report("connections") == 2
        await command(run, "remove_symbols", "SOL-USD")
        await eventually(lambda: run.report("connections") == 1)
        await eventually(lambda: len(run.server.clients) == 1)
        await eventually(lambda: len(run.bodies("trades")) > 3)
        assert whole(run, "BTC-USD")


@each_venue
async def test_an_unknown_symbol_is_refused_with_the_nearest(venue: str) -> None:
    async with simulated(venue, world=WORLD) as run:
        await live(run, "BTC-USD", "ETH-USD")
        answer = await command(run, "add_symbols", "SOL-UDS", "SOL-USD")
        assert answer["symbols"] == ["BTC-USD", "ETH-USD", "SOL-USD"]
        (refused,) = answer["refused"]
        assert (refused["symbol"], refused["reason"]) == ("SOL-UDS", "the venue lists no SOL-UDS")
        assert refused["nearest"][0] == "SOL-USD"
        answer = await command(run, "remove_symbols", "SOL-UDS")
        assert answer["refused"][0]["reason"] == "SOL-UDS is not served"


@each_venue
async def test_a_misspelt_symbol_of_the_settings_can_be_taken_away(venue: str) -> None:
    async with simulated(venue, "BTC-USD", "BTC-UDS") as run:
        await live(run, "BTC-USD")
        await eventually(lambda: run.statuses.state("BTC-UDS") == "down")
        answer = await command(run, "remove_symbols", "BTC-UDS")
        assert answer == {"symbols": ["BTC-USD"], "refused": []}
        listed = await run.feed.commands["list_symbols"]({})
        assert listed["refused"] == {}


@each_venue
async def test_a_feed_without_symbols_takes_them_and_gives_them_back(venue: str) -> None:
    async with simulated(venue) as run:
        await live(run, "BTC-USD", "ETH-USD")
        answer = await command(run, "remove_symbols", "BTC-USD", "ETH-USD")
        assert answer["symbols"] == []
        await eventually(lambda: not run.server.clients)
        status = run.statuses.last()
        assert (status.state, status.detail) == ("live", "no symbols")
        await command(run, "add_symbols", "ETH-USD")
        await eventually(lambda: run.statuses.states("ETH-USD")[-2:] == ["connecting", "live"])
        assert run.report("connections") == 1


@each_venue
async def test_symbols_change_in_the_middle_of_a_rotation(venue: str, loop_kind: str) -> None:
    async with simulated(venue, world=WORLD) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await eventually(lambda: run.bodies("trades"))
        rotation = asyncio.ensure_future(run.feed.commands["rotate"]({}))
        await eventually(lambda: run.server.traffic.connections_total == 2)
        await asyncio.gather(
            command(run, "add_symbols", "SOL-USD"), command(run, "remove_symbols", "ETH-USD")
        )
        assert (await rotation)["connections"] == 1
        await eventually(lambda: len(run.server.clients) == 1)
        await live(run, "SOL-USD")
        before = len(run.bodies("trades", "SOL-USD"))
        await eventually(lambda: len(run.bodies("trades", "SOL-USD")) > before)
        ids = [trade.trade_id for trade in run.bodies("trades")]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        run.book_of_depth()
        assert run.statuses.states("BTC-USD") == ["connecting", "live"]


@each_venue
async def test_symbols_added_while_the_connection_is_down_are_subscribed_to_later(
    venue: str,
) -> None:
    async with simulated(venue, world=WORLD, retry_floor_s=1.0, retry_cap_s=1.0) as run:
        await live(run, "BTC-USD", "ETH-USD")
        await run.fault("abort")
        await eventually(lambda: run.report("connections") == 0)
        await command(run, "add_symbols", "SOL-USD")
        await live(run, "BTC-USD", "ETH-USD", "SOL-USD")


async def test_a_list_that_cannot_be_read_adds_nothing() -> None:
    async with simulated("coinbase", world=WORLD) as run:
        await live(run, "BTC-USD")
        run.faults.refuse_rest(503, 2**62)
        with pytest.raises(CommandRefused, match=r"list cannot be read.*503"):
            await command(run, "add_symbols", "SOL-USD")
        assert run.report("symbols") == 2


async def test_a_list_that_does_not_come_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.feeds.kraken.venue.LIST_WAIT_S", 0.2)
    async with simulated("kraken") as run:
        await live(run, "BTC-USD", "ETH-USD")
        await command(run, "remove_symbols", "BTC-USD", "ETH-USD")
        run.venue_feed._pairs.known.clear()  # type: ignore[attr-defined]
        run.faults.silence("*@instrument", 2**62)
        with pytest.raises(CommandRefused, match="has brought the list of pairs"):
            await command(run, "add_symbols", "BTC-USD")
        await eventually(lambda: not run.server.clients)


async def test_that_the_list_cannot_be_had_is_not_said_at_every_attempt(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with simulated("coinbase") as run:
        run.faults.refuse_rest(503, 2**62)
        await eventually(lambda: run.report("rest_calls") >= 6)
        await live(run, "BTC-USD", "ETH-USD")
    assert capfd.readouterr().err.count("symbols not checked yet") == 1


async def test_a_product_that_the_venue_lists_later_is_served_from_then_on() -> None:
    async with simulated("coinbase", "BTC-USD", "SOL-USD", world=WORLD) as run:
        await live(run, "BTC-USD", "SOL-USD")
        feed: Any = run.venue_feed
        listed = dict(await feed._ask_list(["SOL-USD"]))
        sol = listed.pop("SOL-USD")
        await feed._compare(listed)
        await eventually(lambda: run.statuses.state("SOL-USD") == "down")
        assert (await run.feed.commands["list_symbols"]({}))["symbols"] == ["BTC-USD"]
        await feed._compare({**listed, "SOL-USD": replace(sol, trading=True)})
        await live(run, "SOL-USD")


@each_venue
async def test_a_feed_that_brings_nothing_for_long_gives_itself_up(venue: str) -> None:
    said: list[str] = []
    async with simulated(venue, give_up_after_s=1.0, give_up=said.append) as run:
        await live(run, "BTC-USD")
        assert said == []
        await run.server.close()
        await eventually(lambda: bool(said), 20)
        assert said[0].startswith("nothing came for 1 s: ")


@each_venue
async def test_events_that_come_late_are_stale_and_bring_a_new_connection(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skew, "LATE_FOR_NS", 300_000_000)
    async with simulated(venue, "BTC-USD", late_event_s=2.0) as run:
        await live(run, "BTC-USD")
        await run.fault("clock_skew", ms=-5_000)
        await eventually(lambda: run.statuses.last("BTC-USD").reason == "late", 15)
        assert run.statuses.state("BTC-USD") == "stale"
        assert "more than 2 s late" in (run.statuses.last("BTC-USD").detail or "")
        await eventually(lambda: run.server.traffic.connections_total == 2, 15)
        assert 4_000 < run.report("lateness_ms") < 20_000
        run.faults.clear()
        await live(run, "BTC-USD")


@each_venue
async def test_whole_books_are_had_again_without_an_outage(venue: str) -> None:
    async with simulated(venue) as run:
        await live(run, "BTC-USD", "ETH-USD")
        run.venue_feed._served[0][1].refresh_books()  # type: ignore[attr-defined]
        await eventually(lambda: run.report("resyncs") == 2)
        before = len(run.bodies("depth"))
        await eventually(lambda: len(run.bodies("depth")) > before + 5)
        run.book_of_depth()
        run.book_of_depth("ETH-USD")
        assert run.statuses.states("BTC-USD") == ["connecting", "live"]
        assert run.statuses.states("ETH-USD") == ["connecting", "live"]


BOOKS = {
    "coinbase": b'{"type":"snapshot"',
    "kraken": b'{"channel":"book","type":"snapshot"',
}


@each_venue
async def test_a_new_file_of_a_capture_has_every_book_whole(venue: str, tmp_path: Path) -> None:
    capture = start_capture(
        FeedSettings(capture=True, capture_dir=str(tmp_path), capture_roll_bytes=65_536),
        venue,
        venue,
        simulated=True,
    )
    assert capture is not None
    try:
        async with simulated(venue, capture=capture) as run:
            await live(run, "BTC-USD", "ETH-USD")
            await eventually(lambda: capture.files >= 2, 20)
            await eventually(lambda: run.report("resyncs") == 2)
            assert run.statuses.states("BTC-USD") == ["connecting", "live"]
    finally:
        await asyncio.to_thread(capture.close)
    files = capture_files(tmp_path)
    later = [record for path in files[1:] for record in read_file(path)]
    whole = [one for one in later if isinstance(one, Frame) and BOOKS[venue] in one.payload]
    assert sum(b"BTC" in one.payload for one in whole) >= 1
    assert sum(b"ETH" in one.payload for one in whole) >= 1
    said = [one for one in read_captured(tmp_path) if isinstance(one, Again)]
    assert len(said) == 2, "one message to leave both books, one to take them up again"


def test_states_are_looked_at_often_enough() -> None:
    assert CHECK_EVERY_S < 1
