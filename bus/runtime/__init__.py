"""The life of a process: arguments, settings, logs, readiness, heartbeats, drain, exit codes.

A process is a body and two lines::

    async def body(life: Life, settings: Settings) -> None:
        ...                       # open sockets
        life.ready({"http": url})
        await life.stopping.wait()
        ...                       # drain

    def main(argv=None) -> int:
        return run_async(body, argv)
"""

from bus.runtime.life import BlockingLife, Life
from bus.runtime.log import Logger, get_logger
from bus.runtime.process import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, run_async, run_blocking

__all__ = [
    "EXIT_CONFIG",
    "EXIT_FAILED",
    "EXIT_OK",
    "BlockingLife",
    "Life",
    "Logger",
    "get_logger",
    "run_async",
    "run_blocking",
]
