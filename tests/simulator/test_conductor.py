"""The conductor by itself; with real sockets it is tested in ``test_replay_server``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.capture import CAUSE, Again, Exchange
from bus.errors import ConfigError
from bus.simulator.captured import Captures
from bus.simulator.conductor import Conductor
from bus.simulator.http_reply import HttpReply
from tests.simulator.captures import START_NS, exchange, head, write


async def test_nothing_is_passed_over_before_anybody_has_come(tmp_path: Path) -> None:
    captures = Captures.open([write(tmp_path / "a.mdcap", head(), exchange("/d", b"D"))], "binance")
    conductor = Conductor(captures, speed=None, end="idle", patience_s=0.0)
    task = asyncio.ensure_future(conductor.run())
    done, _ = await asyncio.wait({task}, timeout=0.2)
    assert not done
    call = conductor.ask("/d", {})
    answer = await asyncio.wait_for(call.answer, 5)
    assert answer is not None
    assert answer.body == b"D"
    conductor.withdraw(call)
    await asyncio.wait_for(task, 5)
    assert conductor.figures()["playback_complete"] == 1


async def test_a_file_that_became_unreadable_ends_the_playing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mdcap", head())
    conductor = Conductor(Captures.open([path], "binance"), speed=None, end="idle")
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be played"):
        await conductor.run()


async def test_a_book_asked_for_by_a_capture_is_played_to_who_begins_there_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    book = Exchange(START_NS, 0, "/depth", {"symbol": "A"}, 200, {CAUSE: "capture"}, b"B")
    first = write(tmp_path / "a.mdcap", head(1), exchange("/one", b"1"))
    second = write(tmp_path / "b.mdcap", head(2), book, exchange("/two", b"2"))

    async def play(files: list[Path], *paths: str) -> tuple[list[HttpReply | None], dict[str, int]]:
        conductor = Conductor(Captures.open(files, "binance"), speed=None, end="idle")
        playing = asyncio.ensure_future(conductor.run())
        answers = []
        for path in paths:
            call = conductor.ask(path, {"symbol": "A"} if path == "/depth" else {})
            answers.append(await asyncio.wait_for(call.answer, 5))  # the patience is 10 s
            conductor.withdraw(call)
        await asyncio.wait_for(playing, 5)
        return answers, conductor.figures()

    answers, figures = await play([first, second], "/one", "/two")
    assert [one.body for one in answers if one] == [b"1", b"2"]
    assert figures["playback_not_asked"] == 1
    (answer, _), figures = await play([second], "/depth", "/two")
    assert answer is not None
    assert (answer.body, answer.headers) == (b"B", {})
    assert figures["playback_not_asked"] == 0


async def test_what_was_asked_for_afresh_by_the_clock_is_not_waited_for(tmp_path: Path) -> None:
    again = Again(START_NS, 1, b'{"method":"UNSUBSCRIBE","params":["a@book"],"id":2}')
    path = write(tmp_path / "a.mdcap", head(1), exchange("/one", b"1"), again, again)
    conductor = Conductor(Captures.open([path], "binance"), speed=None, end="idle")
    playing = asyncio.ensure_future(conductor.run())
    call = conductor.ask("/one", {})
    await asyncio.wait_for(call.answer, 5)
    conductor.withdraw(call)
    await asyncio.wait_for(playing, 5)  # the patience is 10 s
    assert conductor.figures()["playback_not_said"] == 0
