"""When a supervisor may leave its place to another program: never in the middle of something."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from bus.supervision.handover import SIGNALS, release_signals
from bus.supervision.succession import Succession
from bus.supervision.supervisor import Supervisor
from bus.testing import eventually


@dataclass
class PretendedUnit:
    is_steady: bool = True


@dataclass
class PretendedSupervisor:
    units: dict[str, PretendedUnit] = field(default_factory=lambda: {"a": PretendedUnit()})
    state: str = "running"
    is_replaced: bool = False
    said: list[str] = field(default_factory=list)
    held_back: bool = False

    def leave(self) -> None:
        self.is_replaced = True
        self.held_back = set(SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def say(self, _kind: str, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    yield
    release_signals()


def both() -> tuple[PretendedSupervisor, Succession]:
    supervisor = PretendedSupervisor()
    return supervisor, Succession(cast(Supervisor, supervisor))


def are_held() -> bool:
    return bool(set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, []))


async def test_it_leaves_when_nothing_goes_on_with_signals_held_back() -> None:
    supervisor, succession = both()
    succession.begin(20)
    await eventually(lambda: supervisor.is_replaced)
    assert supervisor.held_back
    assert are_held(), "until the next program has its handlers"


async def test_processes_and_commands_under_way_are_waited_for() -> None:
    supervisor, succession = both()
    supervisor.units["a"].is_steady = False
    with succession.act():
        succession.begin(20)
        await asyncio.to_thread(bool)
        supervisor.units["a"].is_steady = True
        for _ in range(10):
            await asyncio.to_thread(bool)
        assert not supervisor.is_replaced, "a command is under way"
        assert not are_held()
    await eventually(lambda: supervisor.is_replaced)


async def test_a_signal_that_came_before_is_heard_by_who_it_was_for() -> None:
    supervisor, succession = both()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: setattr(supervisor, "state", "stopping"))
    succession.begin(20)
    os.kill(os.getpid(), signal.SIGTERM)
    await eventually(lambda: supervisor.state == "stopping")
    for _ in range(10):
        await asyncio.to_thread(bool)
    loop.remove_signal_handler(signal.SIGTERM)
    assert not supervisor.is_replaced
    assert not are_held()


async def test_who_is_about_to_end_is_not_replaced_and_it_is_said() -> None:
    supervisor, succession = both()
    succession.forbid()
    succession.begin(0.01)
    succession.begin(20)
    await eventually(lambda: supervisor.said)
    assert "not replaced within 0.01 s" in supervisor.said[0]
    assert not supervisor.is_replaced
