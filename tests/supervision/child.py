"""A small program for the supervisor to run; its behaviour is its first argument.

``well`` serves and drains. ``crash`` exits 1 at once, ``once`` from its second
generation on. ``config`` exits 78. ``silent`` never says
ready. ``stuck`` serves, then blocks its own loop at the first SIGUSR1. ``deaf`` ignores SIGTERM.
``family`` also starts a grandchild in its own group, and one in a session of its own, that both
ignore SIGTERM. ``orphans`` leaves some that have ended. ``hog``, ``glutton`` and ``files`` take too
much at SIGUSR1. ``echo`` answers connections on its inherited listener with its pid, ``once`` does
so too. ``feed`` takes the commands of a feed, and some that no feed has: ``hang``, ``die``,
``chatter``, and ``say``, of its data. ``bridge`` takes new settings; ``plain-bridge`` takes none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from bus.config import Settings, load
from bus.errors import ConfigError
from bus.runtime import Life, get_logger, run_async

_log = get_logger("child")

GRANDCHILD = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"


def block_for_ever(*_: object) -> None:
    threading.Event().wait()


def take_memory(mib: int) -> Callable[[], None]:
    """A function that makes this process take about so much, all of it in use."""
    return lambda: _taken.append(bytearray(b"x") * (mib * 1024 * 1024))


def leave_orphans() -> None:
    """Processes that end at once, and whose parents ended before them."""
    code = "import os\nfor _ in range(5):\n    if os.fork() == 0:\n        os.fork(); os._exit(0)\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def take_files() -> None:
    _taken.extend(os.dup(0) for _ in range(250))


_taken: list[object] = []


def start_grandchildren() -> None:
    subprocess.Popen([sys.executable, "-c", GRANDCHILD])
    subprocess.Popen([sys.executable, "-c", GRANDCHILD], start_new_session=True)


def be_a_feed(life: Life, settings: Settings) -> None:
    """Refuses symbols that begin with NO, and knows of nothing but its list."""
    symbols = list(settings.feeds[life.name.removeprefix("feed.")].symbols)
    verdict = {"state": "live", "reason": "data"}
    silent = asyncio.Event()

    async def add(arguments: dict[str, Any]) -> dict[str, Any]:
        refused = [each for each in arguments["symbols"] if each.startswith("NO")]
        for symbol in arguments["symbols"]:
            if symbol not in (*refused, *symbols):
                symbols.append(symbol)
        why = [{"symbol": each, "reason": "not listed", "nearest": "YES"} for each in refused]
        return {"symbols": symbols, "refused": why}

    async def remove(arguments: dict[str, Any]) -> dict[str, Any]:
        symbols[:] = [symbol for symbol in symbols if symbol not in arguments["symbols"]]
        return {"symbols": symbols, "refused": []}

    async def list_them(_: dict[str, Any]) -> dict[str, Any]:
        return {"symbols": symbols, "refused": []}

    async def say(arguments: dict[str, Any]) -> dict[str, Any]:
        verdict.update(arguments)
        return {}

    async def rotate(_: dict[str, Any]) -> dict[str, Any]:
        return {"connections": 2, "how": "new before old"}

    async def hang(_: dict[str, Any]) -> dict[str, Any]:
        await silent.wait()
        return {}

    async def freeze(_: dict[str, Any]) -> dict[str, Any]:
        threading.Event().wait()
        return {}

    async def die(_: dict[str, Any]) -> dict[str, Any]:
        os._exit(9)

    async def chatter(arguments: dict[str, Any]) -> dict[str, Any]:
        for number in range(arguments["from"], arguments["to"]):
            _log.info("line", number=number, pad="x" * arguments.get("pad", 0))
            if number % 50 == 0:
                await asyncio.to_thread(bool)  # a program that does other things too
        return {}

    for verb, handler in {
        "add_symbols": add,
        "remove_symbols": remove,
        "list_symbols": list_them,
        "rotate": rotate,
        "say": say,
        "hang": hang,
        "freeze": freeze,
        "die": die,
        "chatter": chatter,
    }.items():
        life.handle(verb, handler)
    life.report = lambda: {"symbols": ",".join(symbols), **verdict}


def be_a_bridge(life: Life) -> None:
    """Counts how often it was told of new settings."""
    told: list[str] = []

    async def take(arguments: dict[str, Any]) -> dict[str, Any]:
        told.append(",".join(load(arguments["config"]).feeds["binance"].symbols))
        return {"told": told}

    async def list_told(_: dict[str, Any]) -> dict[str, Any]:
        return {"told": told}

    life.handle("settings", take)
    life.handle("told", list_told)


async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(str(os.getpid()).encode())
    writer.close()


async def body(life: Life, settings: Settings) -> None:
    match sys.argv[1]:
        case "crash":
            life.fail("cannot go on")
            return
        case "once" if life.generation > 1:
            life.fail("only once")
            return
        case "config":
            raise ConfigError.of("feeds.x", "has no key")
        case "silent":
            await asyncio.Event().wait()
        case "deaf":
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
        case "orphans":
            leave_orphans()
        case "family":
            start_grandchildren()
        case "stuck":
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, block_for_ever)
        case "hog" | "glutton" | "files":
            greed = {"hog": take_memory(170), "glutton": take_memory(400), "files": take_files}
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, greed[sys.argv[1]])
        case "echo" | "once":
            listener = life.listen_socket()
            assert listener is not None  # nobody else would take what the kernel sends its way
            await asyncio.start_server(answer, sock=listener)
    life.report = lambda: {"answer": 42}
    if sys.argv[1] == "feed":
        be_a_feed(life, settings)
    elif sys.argv[1] == "bridge":
        be_a_bridge(life)
    life.ready({"made-up": "tcp://127.0.0.1:1"})
    await (asyncio.Event() if sys.argv[1] == "deaf" else life.stopping).wait()


def main() -> int:
    return run_async(body, sys.argv[2:], loop_kind="asyncio")


if __name__ == "__main__":
    raise SystemExit(main())
