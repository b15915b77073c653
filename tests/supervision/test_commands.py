"""Commands passed on to processes: each ends in exactly one way."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from bus.supervision import commands as commands_module
from bus.supervision.commands import MAX_IN_FLIGHT, CommandError, Commands
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.generation import Sender
from bus.supervision.unit import Unit
from bus.testing import eventually
from bus.wire.link import MAX_DATA_BYTES, Command, LinkMessage, Ready, Reply, encode_link
from tests.supervision.conftest import Driven
from tests.supervision.test_unit import SETTINGS, SPEC, PretendedGround


class Line:
    """A unit that serves, its commands, and what was sent to it."""

    def __init__(self) -> None:
        self.ground = PretendedGround()
        self.unit = Unit(SPEC, SETTINGS, self.ground)
        self.sent: list[Command] = []
        self.reachable = True
        self.commands = Commands(self._send)

    def _send(self, sender: Sender, message: LinkMessage) -> bool:
        encode_link(message)  # as the link does: what does not fit the wire is an error
        assert sender == self.unit.sender
        assert isinstance(message, Command)
        self.sent.append(message)
        return self.reachable

    def serve(self) -> Line:
        self.unit.start()
        self.unit.heard(self.ground.sender(1), Ready({}, ("rotate", "list_symbols")))
        return self

    def ask(
        self, verb: str = "rotate", timeout_s: float = 5.0, **arguments: Any
    ) -> asyncio.Task[dict[str, Any]]:
        return asyncio.create_task(self.commands.ask(self.unit, verb, arguments, timeout_s))


async def failure(task: asyncio.Task[dict[str, Any]]) -> CommandError:
    with pytest.raises(CommandError) as failed:
        await task
    return failed.value


async def test_answers_find_their_questions_in_any_order() -> None:
    line = Line().serve()
    tasks = [line.ask(number=number) for number in range(3)]
    await eventually(lambda: len(line.sent) == 3)
    for command in reversed(line.sent):
        assert line.commands.answered(SPEC.name, Reply(command.id, True, command.arguments))
    assert [await task for task in tasks] == [{"number": 0}, {"number": 1}, {"number": 2}]


async def test_an_error_is_told_with_the_process_and_the_verb() -> None:
    line = Line().serve()
    task = line.ask()
    await eventually(lambda: line.sent)
    line.commands.answered(SPEC.name, Reply(line.sent[0].id, False, {}, "not now"))
    assert str(await failure(task)) == "feed.x: rotate: not now"


async def test_a_verb_the_process_did_not_name_is_not_sent() -> None:
    line = Line().serve()
    assert "did you mean rotate?" in str(await failure(line.ask("rotat")))
    assert "it knows rotate, list_symbols" in str(await failure(line.ask("zzz")))
    assert not line.sent


async def test_a_process_that_does_not_serve_is_not_asked() -> None:
    line = Line()
    assert "it is stopped" in str(await failure(line.ask()))
    line.serve()
    line.reachable = False
    assert "cannot be reached" in str(await failure(line.ask()))


async def test_no_answer_in_time_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_module, "MARGIN_S", 0.01)
    line = Line().serve()
    error = await failure(line.ask(timeout_s=0.01))
    assert (error.code, error.why) == (5, "no answer to rotate within 0.01 s")
    late = Reply(line.sent[0].id, True, {})
    assert not line.commands.answered(SPEC.name, late), "nobody waits for it any more"


async def test_the_end_of_the_process_is_an_answer() -> None:
    line = Line().serve()
    task = line.ask()
    await eventually(lambda: line.sent)
    line.commands.gone("feed.other")
    line.commands.gone(SPEC.name)
    assert "ended before it answered" in str(await failure(task))


async def test_somebody_elses_answer_is_not_taken() -> None:
    line = Line().serve()
    task = line.ask()
    await eventually(lambda: line.sent)
    assert not line.commands.answered("feed.other", Reply(line.sent[0].id, True, {}))
    assert line.commands.answered(SPEC.name, Reply(line.sent[0].id, True, {}))
    assert not line.commands.answered(SPEC.name, Reply(line.sent[0].id, True, {"twice": 1}))
    assert await task == {}


async def test_so_many_at_once_and_no_more() -> None:
    line = Line().serve()
    tasks = [line.ask() for _ in range(MAX_IN_FLIGHT)]
    await eventually(lambda: len(line.sent) == MAX_IN_FLIGHT)
    assert "under way already" in str(await failure(line.ask()))
    line.commands.gone(SPEC.name)
    await asyncio.gather(*tasks, return_exceptions=True)
    again = line.ask()
    await eventually(lambda: len(line.sent) == MAX_IN_FLIGHT + 1)
    line.commands.answered(SPEC.name, Reply(line.sent[-1].id, True, {}))
    assert await again == {}


async def test_arguments_that_do_not_fit_are_the_askers_fault() -> None:
    line = Line().serve()
    error = await failure(line.ask(text="x" * MAX_DATA_BYTES))
    assert error.code == 2


def command(bus: Driven, verb: str, name: str = "feed.binance", **words: Any) -> Any:
    return ask(bus.run_dir, "command", name=name, command=verb, wait_s=10, **words)["result"]


def test_a_real_process_does_what_it_is_asked(played_bus: Driven) -> None:
    assert command(played_bus, "rotate") == {"connections": 2, "how": "new before old"}
    assert "rotate" in played_bus.row("feed.binance")["commands"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ({"verb": "rotat"}, 1, "did you mean rotate"),
        ({"verb": "rotate", "name": "feed.binanc"}, 3, "did you mean feed.binance"),
        ({"verb": 7}, 2, "a command is a text"),
        ({"verb": "rotate", "arguments": []}, 2, "its arguments an object"),
        ({"verb": "rotate", "timeout_s": 0}, 2, "not a positive number"),
        ({"verb": "hang", "timeout_s": 0.1}, 1, "given up"),
        ({"verb": "add_symbols", "arguments": {"symbols": "X"}}, 2, "a list of texts"),
        ({"verb": "add_symbols", "arguments": {"symbols": [1]}}, 2, "a list of texts"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_code(
    played_bus: Driven, words: dict[str, Any], code: int, why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as refused:
        command(played_bus, **words)
    assert refused.value.exit_code == code
    assert command(played_bus, "rotate"), "the process goes on"


def test_a_process_that_dies_of_a_command_is_replaced(played_bus: Driven) -> None:
    old = played_bus.pid("feed.finnhub")
    with pytest.raises(RefusedError, match="ended before it answered"):
        command(played_bus, "die", "feed.finnhub")
    played_bus.wait_new_pid("feed.finnhub", old)


def test_a_process_that_cannot_run_is_a_timeout(played_bus: Driven) -> None:
    pid = played_bus.pid("feed.finnhub")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RefusedError, match="no answer to rotate") as late:
            command(played_bus, "rotate", "feed.finnhub", timeout_s=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert late.value.exit_code == 5
