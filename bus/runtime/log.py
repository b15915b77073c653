"""Logs: one line an event, on standard error.

``2026-11-22T08:22:44.123Z INFO  feed.binance feeds.session connected url=wss://… attempt=3``

that is: time (UTC), level, process, logger, event, then ``key=value`` pairs; a value with a
space, a quote or a control character is quoted as JSON, so that a line stays one line whatever a
venue sent. Writing never raises and never blocks the program on a full disk: what could not be
written is counted.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Final

from bus.clock import NS_PER_MS, NS_PER_SECOND, now_ns
from bus.errors import ConfigError

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_PLAIN: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_MAX_VALUE: Final = 4_000


class _Sink:
    """Where lines go, one per program: the process's name, threshold and file descriptor."""

    def __init__(self) -> None:
        self.process = "-"
        self.threshold = LEVELS["info"]
        self.lost_lines = 0

    def write(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # disk full, or stderr closed under us
            self.lost_lines += 1


_sink: Final = _Sink()


def configure(process: str, level: str = "info") -> None:
    """Name this process in every line and drop lines below ``level`` (a key of `LEVELS`).

    Lines of libraries that use :mod:`logging` come out in the same form, from WARNING up.
    """
    from bus.runtime.foreign_log import take_over  # not for who only reads logs

    _sink.process = process
    _sink.threshold = LEVELS[level]
    take_over(_from_library, debug=level == "debug")


def reopen(path: str) -> bool:
    """Write to the file ``path`` from now on: standard error and standard output are moved there.

    The move is one system call, so that every line is in the old file or in the new one. False,
    with a line in the old file, when the new one cannot be opened; everything stays as it was.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        _log.error("cannot reopen the log", path=path, error=error)
        return False
    try:
        for standard in (1, 2):
            os.dup2(fd, standard)
    finally:
        os.close(fd)
    return True


def set_level(level: str) -> None:
    """Drop lines below ``level`` from now on; raises `ConfigError` for one that there is not."""
    if level not in LEVELS:
        raise ConfigError.of("log_level", f"must be one of {', '.join(LEVELS)}")
    configure(_sink.process, level)


def lost_lines() -> int:
    """Lines that could not be written since the program began."""
    return _sink.lost_lines


class Logger:
    """Writes events of one part of the program; cheap to make, safe from any thread."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **fields: object) -> None:
        """Detail for whoever is looking into a problem."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """A change of state an operator may want to see."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is wrong and is being dealt with."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something is wrong and needs an operator."""
        self._emit("error", event, fields)

    def exception(self, event: str, error: BaseException, **fields: object) -> None:
        """An error line with the traceback of ``error`` as its last field, on the same line."""
        from bus.runtime.foreign_log import trace_of

        trace = trace_of(error)
        self._emit(
            "error", event, {**fields, "error": f"{type(error).__name__}: {error}", "trace": trace}
        )

    def _emit(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS[level] >= _sink.threshold:
            _sink.write(format_line(level, _sink.process, self._name, event, fields))


def get_logger(name: str) -> Logger:
    """The logger of one module, named as its path below ``bus`` (``feeds.session``)."""
    return Logger(name)


def format_line(
    level: str,
    process: str,
    logger: str,
    event: str,
    fields: dict[str, object],
    *,
    at_ns: int | None = None,
) -> str:
    """One log line without its newline; ``at_ns`` (wall clock) defaults to the time now."""
    at_s, rest_ns = divmod(now_ns() if at_ns is None else at_ns, NS_PER_SECOND)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_s))}.{rest_ns // NS_PER_MS:03d}Z"
    head = f"{stamp} {level.upper():<7} {process} {logger} {_one_line(event)}"
    return " ".join([head, *(f"{key}={_value(value)}" for key, value in fields.items())])


def _one_line(event: str) -> str:
    return event if event.isprintable() else _quoted(event)


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nil"}[value]
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return _quoted(text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…")


def _quoted(text: str) -> str:
    """JSON, with all that a terminal might obey escaped: JSON itself leaves DEL, C1 and U+2028."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)


def _from_library(level: str, logger: str, event: str, trace: str) -> None:
    fields: dict[str, object] = {"trace": trace} if trace else {}
    known = level if level in LEVELS else "info"
    _sink.write(format_line(known, _sink.process, logger, event, fields))


_log: Final = Logger("runtime.log")
