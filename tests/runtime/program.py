"""A process under test; its behaviour is its first argument, the rest is its command line."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import zmq

from bus.config import Settings
from bus.errors import BusError, ConfigError
from bus.runtime import BlockingLife, Life, run_async, run_blocking
from bus.runtime.commands import AsyncHandler, BlockingHandler


def refuse(_: dict[str, Any]) -> dict[str, Any]:
    raise BusError("the venue says no")


def fail(_: dict[str, Any]) -> dict[str, Any]:
    return {"never": 1 / 0}


HANDLERS: dict[str, BlockingHandler] = {
    "echo": lambda arguments: arguments,
    "refuse": refuse,
    "break": fail,
}


def later(handler: BlockingHandler) -> AsyncHandler:
    async def handle(arguments: dict[str, Any]) -> dict[str, Any]:
        return handler(arguments)

    return handle


async def surprise() -> None:
    async with asyncio.TaskGroup():
        raise BusError("cannot go on")


async def body(life: Life, settings: Settings) -> None:
    match sys.argv[1]:
        case "fails":
            life.fail("the venue refuses us")
        case "raises-config":
            raise ConfigError.of("bridge.port", "is taken")
        case "raises-bus":
            raise BusError("cannot bind ipc:///x")
        case "raises-os":
            raise OSError(98, "Address already in use")
        case "raises-in-a-group":
            async with asyncio.TaskGroup() as group:
                group.create_task(surprise())
        case "raises-bug":
            raise KeyError("surprise")
        case "returns":
            return
        case "deaf":
            life.ready({})
            await asyncio.Event().wait()
        case "wrong-report":
            life.report = lambda: 1 / 0  # type: ignore[assignment,return-value]
            life.ready({})
        case "blocked":
            life.ready({})
            threading.Event().wait()
        case _:
            for verb, handler in HANDLERS.items():
                life.handle(verb, later(handler))
            life.report = lambda: {"answer": 42}
            life.ready({"http": "http://127.0.0.1:1"})
    await life.stopping.wait()


def blocking(life: BlockingLife, settings: Settings) -> None:
    poller = zmq.Poller()
    poller.register(life.signal_fd, zmq.POLLIN)
    if life.link_fd is not None:
        poller.register(life.link_fd, zmq.POLLIN)
    for verb, handler in HANDLERS.items():
        life.handle(verb, handler)
    life.report = lambda: {"answer": 42}
    life.ready({"http": "http://127.0.0.1:1"})
    while not life.stopping:
        poller.poll(250)
        life.service()


if __name__ == "__main__":
    if sys.argv[1] == "blocking":
        raise SystemExit(run_blocking(blocking, sys.argv[2:]))
    kind, _, loop = sys.argv[1].partition("/")
    sys.argv[1] = kind
    raise SystemExit(run_async(body, sys.argv[2:], loop_kind=loop or "uvloop"))
