"""A process's commands: every one answered once, whatever its handler does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.errors import BusError, MdbusError
from bus.runtime.commands import MAX_IN_FLIGHT, AsyncCommands, BlockingCommands
from bus.testing import eventually
from bus.wire.link import MAX_DATA_BYTES, MAX_VERBS, Command, Reply


class Desk:
    """Commands of a process with a few handlers, and the replies they were given."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.commands = AsyncCommands(self.replies.append)
        self.go_on = asyncio.Event()
        self.cancelled = 0
        self.commands.register("echo", self.echo)
        self.commands.register("wait", self.wait)
        self.commands.register("raise", self.fail)

    async def echo(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments

    async def wait(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return arguments

    async def fail(self, arguments: dict[str, Any]) -> dict[str, Any]:
        errors: dict[str, Exception] = {
            "ours": BusError("the book is not in order"),
            "bug": KeyError("surprise"),
            "late": TimeoutError("the venue did not answer"),
            "silent": MdbusError(),
        }
        raise errors[arguments["kind"]]

    async def answer(self, command: Command) -> Reply:
        count = len(self.replies)
        self.commands.take(command)
        await eventually(lambda: len(self.replies) > count)
        return self.replies[-1]


async def test_a_result_is_answered(loop_kind: str) -> None:
    assert await Desk().answer(Command(7, "echo", {"a": [1]})) == Reply(7, True, {"a": [1]})


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("ours", "the book is not in order"),
        ("bug", "internal error, see the log"),
        ("late", "internal error, see the log"),
        ("silent", "MdbusError"),
    ],
)
async def test_an_exception_is_an_answer(kind: str, error: str) -> None:
    assert await Desk().answer(Command(1, "raise", {"kind": kind})) == Reply(1, False, {}, error)


async def test_an_unknown_verb_is_told_the_known_ones() -> None:
    reply = await Desk().answer(Command(1, "sing"))
    assert reply.error == "there is no command 'sing' here; known: echo, wait, raise"


async def test_a_handler_whose_time_is_over_is_cancelled_and_answered(loop_kind: str) -> None:
    desk = Desk()
    reply = await desk.answer(Command(1, "wait", {}, 0.05))
    assert (reply.ok, reply.error) == (False, "not done within 0.05 s, given up")
    assert desk.cancelled == 1


async def test_so_many_at_once_and_no_more(loop_kind: str) -> None:
    desk = Desk()
    for number in range(MAX_IN_FLIGHT):
        desk.commands.take(Command(number, "wait"))
    refused = await desk.answer(Command(99, "wait"))
    assert "being worked on already" in refused.error
    desk.go_on.set()
    await eventually(lambda: len(desk.replies) == MAX_IN_FLIGHT + 1)
    assert (await desk.answer(Command(100, "echo"))).ok, "there is room again"


async def test_a_process_that_leaves_answers_what_it_gave_up() -> None:
    desk = Desk()
    desk.commands.take(Command(1, "wait"))
    await asyncio.wait([asyncio.create_task(desk.echo({}))])  # the command has begun
    desk.commands.cancel()
    await eventually(lambda: desk.replies)
    assert desk.replies == [Reply(1, False, {}, "the process is stopping")]


@pytest.mark.parametrize("result", [{"a": b""}, {"a": "x" * MAX_DATA_BYTES}, None, {"a": {1: 2}}])
async def test_a_result_that_cannot_be_sent_is_said_to_be_so(result: Any) -> None:
    desk = Desk()

    async def odd(_: dict[str, Any]) -> dict[str, Any]:
        return result  # type: ignore[no-any-return]

    desk.commands.register("odd", odd)
    reply = await desk.answer(Command(1, "odd"))
    assert not reply.ok
    assert "its result cannot be sent" in reply.error


async def test_a_verb_has_one_handler_and_there_are_so_many_verbs() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="has a handler already"):
        desk.commands.register("echo", desk.echo)
    for number in range(MAX_VERBS - 3):
        desk.commands.register(f"v{number}", desk.echo)
    with pytest.raises(ValueError, match="more than"):
        desk.commands.register("one-more", desk.echo)


def test_a_process_with_a_loop_of_its_own_does_each_at_once() -> None:
    replies: list[Reply] = []
    commands = BlockingCommands(replies.append)

    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("surprise")

    commands.register("echo", lambda arguments: arguments)
    commands.register("fail", fail)
    for number, verb in enumerate(("echo", "fail", "sing")):
        commands.take(Command(number, verb, {"a": 1}))
    assert [reply.ok for reply in replies] == [True, False, False]
    assert replies[0].result == {"a": 1}
    assert replies[1].error == "internal error, see the log"
    assert commands.verbs == ("echo", "fail")
