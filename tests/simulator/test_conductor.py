"""The conductor by itself; with real sockets it is tested in ``test_replay_server``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.errors import ConfigError
from bus.simulator.captured import Captures
from bus.simulator.conductor import Conductor
from tests.simulator.captures import exchange, head, write


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
