"""Log files bounded by size, without anything between a process and its file.

A file that has grown too large is renamed, ``NAME.log`` to ``NAME.log.1`` and so on, and its
process is asked to go on in a fresh one. Until it does, it writes to the renamed file: no line is
lost on the way. `LogKeeper` renames nothing more until the fresh file is there, so that a process
that does not answer never has the file it writes to dropped.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bus.runtime.log import get_logger, reopen

ASK_AGAIN_S: Final = 1.0
MOST_FILES: Final = 100
TAIL_LINES: Final = 10
TAIL_WIDTH: Final = 500

_log = get_logger("supervision.log_files")


def kept(path: Path) -> list[Path]:
    """The log ``path`` and those set aside before it, newest first, as far as they exist."""
    numbered = (_aside(path, number) for number in range(1, MOST_FILES + 1))
    return [file for file in (path, *numbered) if file.exists()]  # while renaming, with a gap


def end_of(path: Path) -> tuple[int, int]:
    """Where the file ``path`` ends now: its inode and its size; both 0 when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size


def tail_of(path: Path, lines: int = TAIL_LINES, *, since: tuple[int, int] = (0, 0)) -> list[str]:
    """The last lines of the file ``path``, each cut to `TAIL_WIDTH` characters; none when it
    cannot be read. Of what `end_of` said ``since``, when it still is that file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            inode, begin = since
            begin = begin if os.fstat(file.fileno()).st_ino == inode and begin <= size else 0
            file.seek(max(begin, size - lines * TAIL_WIDTH))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line[:TAIL_WIDTH] for line in text.splitlines()[-lines:]]


def set_aside(path: Path, files: int) -> None:
    """Rename ``path`` to ``path.1`` and so on; of all of them ``files`` (the fresh one, which is
    yet to be made, included) are kept. Raises `OSError` when a file cannot be renamed.
    """
    for number in range(MOST_FILES, files - 2, -1):  # also what a larger setting once kept
        if number >= 1:
            _aside(path, number).unlink(missing_ok=True)
    for number in range(files - 2, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            _aside(path, number).rename(_aside(path, number + 1))
    with contextlib.suppress(FileNotFoundError):
        path.rename(_aside(path, 1))


def rotate_log(path: Path, max_bytes: int, files: int) -> bool:
    """Set ``path`` aside when it is larger than ``max_bytes``; whether it was."""
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    set_aside(path, files)
    return True


class LogKeeper:
    """Keeps the logs of running processes within their bound; to be asked every so often.

    ``limits()`` gives the most bytes of one file and the number of files, as they are now.
    """

    def __init__(self, directory: Path, limits: Callable[[], tuple[int, int]]) -> None:
        self._directory = directory
        self._limits = limits
        self._asked_at: dict[str, float] = {}
        self._failed: set[str] = set()
        self._sizes: dict[str, int] = {}

    def check(self, name: str, now_s: float, ask: Callable[[str], bool]) -> bool:
        """Look after the log of the running process ``name``; whether to look again soon: it is
        being moved, or grows so fast that it might be too large by the look after the next.

        ``ask(path)`` tells it to write to ``path`` from now on, and is False when it cannot be
        told, which is then done again later.
        """
        path = self._directory / f"{name}.log"
        max_bytes, files = self._limits()
        try:
            size = path.stat().st_size
        except FileNotFoundError:  # set aside, and not made anew by its process yet
            if now_s - self._asked_at.get(name, -ASK_AGAIN_S) >= ASK_AGAIN_S:
                self._asked_at[name] = now_s
                ask(str(path))
            return True
        except OSError as error:
            self._fail(name, error)
            return False
        if size > max_bytes:
            try:
                set_aside(path, files)
            except OSError as error:
                self._fail(name, error)
                return False
            self._asked_at[name] = now_s
            ask(str(path))
            return True
        return self._grows_fast(name, size, max_bytes)

    def check_own(self, path: Path) -> bool:
        """As `check`, for the log of this very program, if ``path`` is where it writes."""
        max_bytes, files = self._limits()
        try:
            found = path.stat()
            if not os.path.samestat(found, os.fstat(2)):
                return False
            if rotate_log(path, max_bytes, files):
                reopen(str(path))
        except FileNotFoundError:  # the supervisor runs in a terminal, or the file was just moved
            return False
        except OSError as error:
            self._fail(path.stem, error)
            return False
        return self._grows_fast(path.stem, found.st_size, max_bytes)

    def _grows_fast(self, name: str, size: int, max_bytes: int) -> bool:
        growth = size - self._sizes.get(name, size)
        self._sizes[name] = size
        return size + 2 * growth > max_bytes

    def _fail(self, name: str, error: OSError) -> None:
        """Say once for each log that it cannot be bounded."""
        if name not in self._failed:
            self._failed.add(name)
            _log.error("cannot rotate a log", name=name, error=error)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
