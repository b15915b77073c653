"""Playing a recording: the recorded bytes, the recorded order, the snapshot in its place."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from bus.clock import monotonic_ns
from bus.errors import ConfigError
from bus.simulator.binance.playback import Playback, parse_speed
from bus.simulator.binance.recording import Recording
from bus.simulator.binance.server import BinanceServer
from bus.testing import eventually
from tests.simulator.binance.test_recording import LINES, SNAPSHOT, diff, trade, write
from tests.simulator.conftest import Serve, SimulatedVenue

FRAMES = [line for line in LINES if line != SNAPSHOT]
ALL = "/stream?streams=btcusdt@depth@100ms/btcusdt@trade"

Play = Callable[..., Playback]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    recording = Recording.open([write(tmp_path / "play.gz", LINES)])

    def make(recording: Recording = recording, **changes: Any) -> Playback:
        options: dict[str, Any] = {"speed": None, "end": "idle", "snapshot": "pass"}
        return Playback(recording, clock=monotonic_ns, **(options | changes))

    return make


async def take(client: Any, count: int) -> list[bytes]:
    return [await client.recv(decode=False) for _ in range(count)]


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("2.5", 2.5)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf", ""])
def test_no_speeds(text: str) -> None:
    with pytest.raises(ConfigError, match="is no speed"):
        parse_speed(text)


async def test_a_client_gets_the_recorded_frames_byte_for_byte(
    binance: Serve, play: Play, loop_kind: str
) -> None:
    async with binance(play()) as venue, venue.connect(ALL) as client:
        assert await take(client, len(FRAMES)) == FRAMES


async def test_only_subscribed_streams_are_sent(binance: Serve, play: Play) -> None:
    path = "/stream?streams=btcusdt@depth@100ms"
    async with binance(play()) as venue, venue.connect(path) as client:
        assert await take(client, 3) == [line for line in FRAMES if b"@depth" in line]


async def test_a_raw_connection_gets_the_payloads(binance: Serve, play: Play) -> None:
    async with binance(play()) as venue, venue.connect("/ws/btcusdt@trade") as client:
        assert await take(client, 1) == [b'{"e":"trade","s":"BTCUSDT"}']


async def test_every_client_gets_the_recording_from_the_start(binance: Serve, play: Play) -> None:
    async with binance(play()) as venue:
        for _ in range(2):
            async with venue.connect(ALL) as client:
                assert await take(client, len(FRAMES)) == FRAMES


async def test_a_live_subscription_starts_the_playback(
    binance: Serve, play: Play, loop_kind: str
) -> None:
    async with binance(play()) as venue, venue.connect("/stream") as client:
        names = '["btcusdt@depth@100ms","btcusdt@trade","btcusdt@ticker"]'
        await client.send(f'{{"method":"SUBSCRIBE","params":{names},"id":1}}')
        assert await take(client, 1) == [b'{"result":null,"id":1}']
        assert await take(client, len(FRAMES)) == FRAMES


async def test_a_subscription_to_what_is_not_recorded_starts_nothing(
    binance: Serve, play: Play
) -> None:
    playback = play()
    async with binance(playback) as venue, venue.connect("/stream?streams=btcusdt@ticker"):
        await eventually(lambda: isinstance(venue.server, BinanceServer) and venue.server.clients)
        assert playback.figures()["playback_players"] == 0


async def test_the_end_is_known_from_figures_and_control(binance: Serve, play: Play) -> None:
    playback = play()
    async with binance(playback) as venue, venue.connect(ALL) as client:
        await take(client, len(FRAMES))
        await eventually(lambda: playback.figures()["playback_complete"] == 1)
        state = (await venue.get("/_sim/playback")).json()
        assert state["players"][0]["complete"]
        assert state["players"][0]["position"] == state["total_lines"] == len(LINES)
        assert state["players"][0]["sent"] == playback.figures()["playback_sent"] == len(FRAMES)
        assert client.close_code is None


async def test_the_end_may_close_the_connection(binance: Serve, play: Play) -> None:
    async with binance(play(end="close")) as venue, venue.connect(ALL) as client:
        assert [message async for message in client] == [line.decode() for line in FRAMES]
        assert client.close_code == 1000


async def test_the_end_may_be_the_start_again(binance: Serve, play: Play) -> None:
    async with binance(play(end="loop")) as venue, venue.connect(ALL) as client:
        assert await take(client, 3 * len(FRAMES)) == FRAMES * 3


async def test_the_recorded_reply_comes_byte_for_byte_once_its_place_is_passed(
    binance: Serve, play: Play, loop_kind: str
) -> None:
    async with binance(play()) as venue, venue.connect(ALL) as client:
        await take(client, len(FRAMES))
        reply = await venue.get("/api/v3/depth?symbol=BTCUSDT&limit=1000")
    assert reply.content == SNAPSHOT


async def test_the_recorded_reply_waits_until_its_place_is_passed(
    binance: Serve, play: Play
) -> None:
    """One recorded millisecond takes a hundred here: the reply must not overtake the diff."""
    async with binance(play(speed=0.01)) as venue:
        asked = asyncio.create_task(venue.get("/api/v3/depth?symbol=BTCUSDT"))
        async with venue.connect(ALL) as client:
            seen = await take(client, 2)
            assert seen == FRAMES[:2]
            assert not asked.done()
            assert (await asked).content == SNAPSHOT


async def test_holding_stops_the_playback_at_the_reply_until_somebody_asks(
    binance: Serve, play: Play, loop_kind: str
) -> None:
    playback = play(snapshot="hold")
    async with binance(playback) as venue, venue.connect(ALL) as client:
        await take(client, 2)
        assert not playback.figures()["playback_complete"]
        reply = await venue.get("/api/v3/depth?symbol=BTCUSDT")
        assert reply.content == SNAPSHOT
        assert await take(client, 2) == FRAMES[2:]


async def test_a_later_request_gets_the_book_at_the_place_of_the_playback(
    binance: Serve, play: Play
) -> None:
    async with binance(play()) as venue, venue.connect(ALL) as client:
        await take(client, len(FRAMES))
        await venue.get("/api/v3/depth?symbol=BTCUSDT")
        again = (await venue.get("/api/v3/depth?symbol=BTCUSDT")).json()
    assert again["lastUpdateId"] == 15
    assert again["asks"][0] == ["100.5", "9"]


async def test_without_a_playing_client_the_request_times_out_as_at_the_venue(
    binance: Serve, play: Play
) -> None:
    async with binance(play(depth_timeout_s=0.05)) as venue:
        reply = await venue.get("/api/v3/depth?symbol=BTCUSDT")
    assert (reply.status_code, reply.json()["code"]) == (504, -1007)


async def test_closing_answers_who_waits(play: Play) -> None:
    playback = play()
    waiting = asyncio.create_task(playback.depth(100))
    await playback.close()
    assert (await waiting).status == 504


async def test_bad_depth_requests_are_refused_at_once(binance: Serve, play: Play) -> None:
    async with binance(play()) as venue:
        reply = await venue.get("/api/v3/depth?symbol=NOPE")
        info = (await venue.get("/api/v3/exchangeInfo?symbol=BTCUSDT")).json()
    assert reply.json() == {"code": -1121, "msg": "Invalid symbol."}
    assert info["symbols"][0]["filters"][0]["tickSize"] == "0.01000000"


async def test_faults_apply_to_a_playback_too(binance: Serve, play: Play) -> None:
    async with binance(play(snapshot="hold")) as venue, venue.connect(ALL) as client:
        await take(client, 2)
        await venue.fault("drop_diff", symbol="BTCUSDT")
        await venue.get("/api/v3/depth?symbol=BTCUSDT")
        assert await take(client, 1) == FRAMES[3:]


async def test_speed_spreads_the_recorded_gaps(binance: Serve, play: Play) -> None:
    """Four recorded milliseconds at a fiftieth of the speed are two tenths of a second."""
    async with binance(play(speed=0.02)) as venue, venue.connect(ALL) as client:
        began_ns = monotonic_ns()
        await take(client, len(FRAMES))
        assert monotonic_ns() - began_ns >= 180_000_000


async def test_flat_out_is_held_back_by_a_client_that_does_not_read(
    binance: Serve, tmp_path: Path, play: Play, loop_kind: str
) -> None:
    """Back-pressure: what is queued stays bounded, and in the end nothing is missing."""
    many = ",".join(['["99.00000000","1.00000000"]'] * 700)
    frames = [diff(number, number, f"[{many}]") for number in range(1, 2_000)]
    recording = Recording.open([write(tmp_path / "long.gz", frames)])
    playback = play(recording)
    async with binance(playback) as venue:
        slow = connect(f"{venue.ws}{ALL}", max_queue=1, max_size=None, compression=None)
        async with slow as client:
            await eventually(lambda: playback.figures()["playback_sent"] > 10)
            position = -1

            async def stands_still() -> bool:
                nonlocal position
                before, position = position, playback.figures()["playback_sent"]
                await venue.get("/api/v3/ping")
                return before == position

            await eventually(stands_still)
            assert venue.server.figures()["binance_queued_bytes"] < 200_000
            assert position < len(frames)
            assert await take(client, len(frames)) == frames
        assert venue.server.traffic.slow_clients == 0


async def test_a_recording_that_vanishes_under_way_ends_the_connection_with_1011(
    binance: Serve, tmp_path: Path, play: Play
) -> None:
    path = write(tmp_path / "gone.gz", LINES)
    recording = Recording.open([path])
    path.unlink()
    async with binance(play(recording)) as venue, venue.connect(ALL) as client:
        await client.wait_closed()
        assert client.close_code == 1011


@pytest.mark.recorded
async def test_the_whole_recorded_day_arrives_exactly(
    binance: Serve, play: Play, recorded_dir: Path
) -> None:
    files = [recorded_dir / name for name in ("btcusdt_20240808.gz", "btcusdt_20240809.gz")]
    playback = play(Recording.open(files))
    streams = "/".join(playback.recording.streams)
    async with binance(playback) as venue, venue.connect(f"/stream?streams={streams}") as client:
        asked = asyncio.create_task(depth_reply(venue))
        for path in files:
            with gzip.open(path, "rb") as file:
                for line in file:
                    raw = line.rstrip(b"\n").partition(b" ")[2]
                    if raw.startswith(b'{"lastUpdateId"'):
                        recorded_reply = raw
                    else:
                        assert await client.recv(decode=False) == raw
        assert await asked == recorded_reply
        await eventually(lambda: playback.figures()["playback_complete"] == 1)
        assert playback.figures()["playback_sent"] == 99_573


async def depth_reply(venue: SimulatedVenue) -> bytes:
    async with httpx.AsyncClient(base_url=venue.http, timeout=30) as client:
        reply = await client.get("/api/v3/depth?symbol=BTCUSDT&limit=1000")
    return reply.content


async def test_rest_tells_the_trades_that_the_newest_player_has_passed(
    binance: Serve, play: Play, tmp_path: Path
) -> None:
    recording = Recording.open([write(tmp_path / "trades.gz", [trade(n) for n in range(1, 8)])])
    async with binance(play(recording)) as venue:
        path = "/api/v3/trades?symbol=BTCUSDT&limit=2"
        assert (await venue.get(path)).json() == [], "nobody plays"
        async with venue.connect("/ws/btcusdt@trade") as client:
            await take(client, 7)
            await eventually(lambda: venue.server.figures()["playback_complete"] == 1)
            answer = await venue.get(path)
            assert answer.content == (
                b'[{"id":6,"price":"61602.01000000","qty":"0.50000000",'
                b'"quoteQty":"30801.00500000","time":60,"isBuyerMaker":true,"isBestMatch":true},'
                b'{"id":7,"price":"61602.01000000","qty":"0.50000000",'
                b'"quoteQty":"30801.00500000","time":70,"isBuyerMaker":true,"isBestMatch":true}]'
            )
            assert (await venue.get("/api/v3/trades?symbol=NOPE")).json()["code"] == -1121
            assert (await venue.get("/api/v3/trades?symbol=BTCUSDT&limit=0")).status_code == 400


async def test_a_recording_whose_trades_cannot_be_read_is_an_error_of_the_venue(
    binance: Serve, play: Play
) -> None:
    async with binance(play()) as venue, venue.connect(ALL) as client:
        await take(client, len(FRAMES))
        await eventually(lambda: venue.server.figures()["playback_complete"] == 1)
        assert (await venue.get("/api/v3/trades?symbol=BTCUSDT")).status_code == 500


async def test_a_lost_trade_is_not_played(binance: Serve, play: Play, tmp_path: Path) -> None:
    recording = Recording.open([write(tmp_path / "trades.gz", [trade(n) for n in (1, 2, 3)])])
    async with binance(play(recording)) as venue:
        await venue.get("/_sim/fault?kind=drop_trade&symbol=BTCUSDT")
        async with venue.connect("/ws/btcusdt@trade") as client:
            got = await take(client, 2)
        assert [b'"t":2' in got[0], b'"t":3' in got[1]] == [True, True]
