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

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_HOMES: Final = {
    "life": ("BlockingLife", "Life"),
    "log": ("Logger", "get_logger"),
    "process": ("EXIT_CONFIG", "EXIT_FAILED", "EXIT_OK", "run_async", "run_blocking"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a command that only writes a log line needs no process's life."""
    import importlib

    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
