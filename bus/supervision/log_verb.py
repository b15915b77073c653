"""``logs``: the last lines of one process's log file or of all, and what follows.

Reads the files themselves, so that it also works when the supervisor is gone. All logs together
are merged by the time each line starts with.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from bus.supervision import exit_codes
from bus.supervision.locate import run_path_for
from bus.supervision.plan import nearest

_POLL_S: Final = 0.2
_BLOCK: Final = 64 * 1024
_MOST_LINES: Final = 100_000


def run_logs(arguments: argparse.Namespace) -> int:
    """Print logs; 3 when there is no log of that name."""
    directory = run_path_for(arguments) / "log"
    known = sorted(path.stem for path in directory.glob("*.log")) if directory.is_dir() else []
    if arguments.name and arguments.name not in known:
        near = nearest(arguments.name, known)
        hint = f"; did you mean {near}?" if near else ""
        sys.stderr.write(f"mdbus: there is no log of {arguments.name!r} in {directory}{hint}\n")
        return exit_codes.NO_SUCH_PROCESS
    if not known:
        sys.stderr.write(f"mdbus: no logs in {directory} (start: mdbus up)\n")
        return exit_codes.NO_SUPERVISOR
    paths = [directory / f"{name}.log" for name in ([arguments.name] if arguments.name else known)]
    wanted = max(0, min(arguments.lines, _MOST_LINES))
    positions = {path: path.stat().st_size for path in paths}
    for line in _merged(paths, wanted):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    if arguments.follow:
        _follow(positions)
    return exit_codes.OK


def last_lines(path: Path, wanted: int) -> list[str]:
    """The last ``wanted`` lines of a file, read from its end in blocks."""
    if wanted <= 0:
        return []
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        tail = b""
        while position > 0 and tail.count(b"\n") <= wanted:
            step = min(_BLOCK, position)
            position = file.seek(position - step)
            tail = file.read(step) + tail
    return tail.decode("utf-8", errors="replace").splitlines()[-wanted:]


def _merged(paths: list[Path], wanted: int) -> Iterator[str]:
    """The last lines of several files in order of time; a line without one follows its own."""
    streams = [_timed(last_lines(path, wanted)) for path in paths]
    merged = heapq.merge(*streams, key=lambda entry: entry[0])
    yield from deque((line for _, line in merged), maxlen=wanted)


def _timed(lines: list[str]) -> Iterator[tuple[str, str]]:
    stamp = ""
    for line in lines:
        if line[4:5] == "-" and line[10:11] == "T":
            stamp = line[:24]
        yield stamp, line


def _follow(positions: dict[Path, int]) -> None:
    """Print what is appended until interrupted; a file that shrank or was replaced starts anew."""
    files: dict[Path, tuple[TextIO, int]] = {}
    for path, position in positions.items():
        file: TextIO = path.open(encoding="utf-8", errors="replace")
        file.seek(position)
        files[path] = (file, os.fstat(file.fileno()).st_ino)
    while True:
        for path, (file, inode) in files.items():
            sys.stdout.write(file.read())
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if facts.st_ino != inode or facts.st_size < file.tell():
                file.close()
                replacement = path.open(encoding="utf-8", errors="replace")
                files[path] = (replacement, facts.st_ino)
        sys.stdout.flush()
        time.sleep(_POLL_S)
