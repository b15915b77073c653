"""Lines of libraries that use :mod:`logging` (websockets, asyncio), for our own log; tracebacks."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

Take = Callable[[str, str, str, str], None]
"""Takes the level, the logger's name, the message and the traceback, which may be empty."""


def take_over(take: Take, *, debug: bool) -> None:
    """Hand every record from WARNING up to ``take``, and with ``debug`` those from INFO up."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(take)]
    root.setLevel(logging.INFO if debug else logging.WARNING)


def trace_of(error: BaseException) -> str:
    """The traceback of an exception, as Python prints it."""
    return "".join(traceback.format_exception(error)).rstrip()


class _Handler(logging.Handler):
    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        error = record.exc_info[1] if record.exc_info else None
        trace = "" if error is None else trace_of(error)
        self._take(level, record.name, record.getMessage(), trace)
