"""``logs``: the last lines of one process's log or of all, and what follows.

Reads the files themselves, those set aside included, so that it also works when the supervisor is
gone. All logs together are merged by the time each line starts with.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from bus.runtime.log import LEVELS
from bus.supervision import exit_codes
from bus.supervision.locate import run_path_for
from bus.supervision.lock import running_pid
from bus.supervision.log_files import kept
from bus.supervision.nearest import nearest

_POLL_S: Final = 0.2
_BLOCK: Final = 64 * 1024
_MOST_LINES: Final = 100_000
_QUIET_READS: Final = 10
"""A file set aside is given up after so many reads without news: 2 s."""


def run_logs(arguments: argparse.Namespace) -> int:
    """Print logs; 3 when there is no log of that name."""
    directory = run_path_for(arguments) / "log"
    known = _names(directory)
    for name in arguments.names:
        if name == "supervisor" and name not in known:
            sys.stderr.write(f"mdbus: {_without_own_log(directory)}\n")
            return exit_codes.NO_SUCH_PROCESS
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            sys.stderr.write(f"mdbus: there is no log of {name!r} in {directory}{hint}\n")
            return exit_codes.NO_SUCH_PROCESS
    if not known:
        sys.stderr.write(f"mdbus: no logs in {directory} (start: mdbus up)\n")
        return exit_codes.NO_SUPERVISOR
    paths = [directory / f"{name}.log" for name in (arguments.names or known)]
    wanted = max(0, min(arguments.lines, _MOST_LINES))
    followed = [Followed(path) for path in paths] if arguments.follow else []
    passes = line_filter(arguments.level, arguments.grep)
    for line in _merged(paths, wanted, passes):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if arguments.follow:
        _follow(followed, passes)
    return exit_codes.OK


def line_filter(level: str | None, text: str | None) -> Callable[[str], bool]:
    """Which lines are wanted: those of ``level`` and above that hold ``text`` in any case.

    A line that has no level (a stack, the output of a library) goes with the one before it.
    """
    if level is None and not text:
        return everything
    wanted = (text or "").casefold()
    threshold = LEVELS[level] if level else 0
    last = True

    def passes(line: str) -> bool:
        nonlocal last
        word = line[25:33].split(" ")[0].lower()
        if word in LEVELS:
            last = LEVELS[word] >= threshold and wanted in line.casefold()
        elif wanted:
            return wanted in line.casefold()
        return last

    return passes


def everything(_: str) -> bool:
    """The filter that lets every line through."""
    return True


def _without_own_log(directory: Path) -> str:
    """Why the supervisor, of all processes, has no log here."""
    if running_pid(directory.parent) is not None:
        return (
            "the supervisor runs in a terminal and says there what happens; "
            "with --detach it writes supervisor.log"
        )
    return f"no log of the supervisor in {directory}: it writes one with --detach only"


def _names(directory: Path) -> list[str]:
    """The names that have a log here; for a moment there may be only one set aside."""
    found = [path.name for path in directory.glob("*.log*")] if directory.is_dir() else []
    return sorted({name.rpartition(".log")[0] for name in found})


def last_lines(path: Path, wanted: int) -> list[str]:
    """The last ``wanted`` lines of a log, those of its files set aside included."""
    lines: list[str] = []
    for file in kept(path):
        if len(lines) >= wanted:
            break
        with contextlib.suppress(FileNotFoundError):  # set aside once more in this very moment
            lines = _end_of(file, wanted - len(lines)) + lines
    return lines


def _end_of(path: Path, wanted: int) -> list[str]:
    """The last ``wanted`` lines of a file, read from its end in blocks."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        tail = b""
        while position > 0 and tail.count(b"\n") <= wanted:
            step = min(_BLOCK, position)
            position = file.seek(position - step)
            tail = file.read(step) + tail
    return tail.decode("utf-8", errors="replace").splitlines()[-wanted:]


def _merged(paths: list[Path], wanted: int, passes: Callable[[str], bool]) -> Iterator[str]:
    """The last lines of several files in order of time; a line without one follows its own."""
    searched = wanted if passes is everything else _MOST_LINES
    streams = [_timed(filter(passes, last_lines(path, searched))) for path in paths]
    merged = heapq.merge(*streams, key=lambda entry: entry[0])
    yield from deque((line for _, line in merged), maxlen=wanted)


def _timed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    stamp = ""
    for line in lines:
        if line[4:5] == "-" and line[10:11] == "T":
            stamp = line[:24]
        yield stamp, line


def _follow(logs: list[Followed], passes: Callable[[str], bool]) -> None:
    """Print what is appended until interrupted, or until nobody reads it."""
    try:
        while not reader_has_left():
            for log in logs:
                for line in log.read().splitlines(keepends=True):
                    if passes(line):
                        sys.stdout.write(line)
            sys.stdout.flush()
            time.sleep(_POLL_S)
    finally:
        for log in logs:
            log.close()


def reader_has_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more (``mdbus logs -f | head``).

    Else that would show with the next line only, which may be hours away.
    """
    try:
        poller = select.poll()
        poller.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poller.poll(0))
    except (OSError, ValueError):  # no file at all
        return False


class Followed:
    """Reads on where a log ended when this was made, from file to file as they are set aside.

    A process may write to a file for a moment after it was set aside (until it has opened the
    next), so that such a file is read until it has been quiet for some reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: list[_Reader] = []
        reader = _Reader.of(path) or next(filter(None, map(_Reader.of, kept(path))), None)
        if reader is not None:
            reader.file.seek(0, os.SEEK_END)
            self._open = [reader]

    def read(self) -> str:
        """What was written since the last call, oldest file first."""
        self._find_newer()
        text = "".join(reader.read() for reader in self._open)
        quiet = [reader for reader in self._open[:-1] if reader.quiet_reads >= _QUIET_READS]
        for reader in quiet:
            reader.file.close()
            self._open.remove(reader)
        return text

    def close(self) -> None:
        """Read no further."""
        for reader in self._open:
            reader.file.close()
        self._open = []

    def _find_newer(self) -> None:
        """Open, oldest first, every file begun after the newest that is open."""
        if self._open and self._open[-1].is_still(self._path):
            return
        newer: list[_Reader] = []
        for path in kept(self._path):
            reader = _Reader.of(path)
            if reader is None:
                continue
            if self._open and self._open[-1].inode == reader.inode:
                reader.file.close()
                break
            newer.append(reader)
        self._open += reversed(newer)


class _Reader:
    """One open file; ``quiet_reads`` counts the reads in a row that found nothing new."""

    def __init__(self, file: TextIO, inode: int) -> None:
        self.file = file
        self.inode = inode
        self.quiet_reads = 0

    @classmethod
    def of(cls, path: Path) -> _Reader | None:
        try:
            file: TextIO = path.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return cls(file, os.fstat(file.fileno()).st_ino)

    def is_still(self, path: Path) -> bool:
        """Whether ``path`` is this file, or nothing yet. One that was cut is read anew."""
        try:
            facts = path.stat()
        except FileNotFoundError:
            return True
        if facts.st_ino == self.inode and facts.st_size < self.file.tell():
            self.file.seek(0)
        return facts.st_ino == self.inode

    def read(self) -> str:
        text = self.file.read()
        self.quiet_reads = 0 if text else self.quiet_reads + 1
        return text
