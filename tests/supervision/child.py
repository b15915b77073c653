"""A small program for the supervisor to run; its behaviour is its first argument.

``well`` serves and drains. ``crash`` exits 1 at once. ``config`` exits 78. ``silent`` never says
ready. ``stuck`` serves, then blocks its own loop at the first SIGUSR1. ``deaf`` ignores SIGTERM.
``family`` also starts a grandchild in its own group, and one in a session of its own, that both
ignore SIGTERM. ``echo`` answers connections on its inherited listener with its pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

from bus.config import Settings
from bus.errors import ConfigError
from bus.runtime import Life, run_async

GRANDCHILD = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"


def block_for_ever(*_: object) -> None:
    threading.Event().wait()


def start_grandchildren() -> None:
    subprocess.Popen([sys.executable, "-c", GRANDCHILD])
    subprocess.Popen([sys.executable, "-c", GRANDCHILD], start_new_session=True)


async def body(life: Life, settings: Settings) -> None:
    match sys.argv[1]:
        case "crash":
            life.fail("cannot go on")
            return
        case "config":
            raise ConfigError.of("feeds.x", "has no key")
        case "silent":
            await asyncio.Event().wait()
        case "deaf":
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
        case "family":
            start_grandchildren()
        case "stuck":
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, block_for_ever)
        case "echo":
            listener = life.listen_socket()
            assert listener is not None

            async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(str(os.getpid()).encode())
                writer.close()

            await asyncio.start_server(answer, sock=listener)
    life.report = lambda: {"answer": 42}
    life.ready({"made-up": "tcp://127.0.0.1:1"})
    await (asyncio.Event() if sys.argv[1] == "deaf" else life.stopping).wait()


if __name__ == "__main__":
    raise SystemExit(run_async(body, sys.argv[2:], loop_kind="asyncio"))
