"""What happened in the supervisor, as values: shown by ``up``, kept in a file for ``events``."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bus.supervision.log_files import rotate_log

FILE_NAME: Final = "events.jsonl"
MAX_FILE_BYTES: Final = 2 * 1024 * 1024
"""Two files of this size are kept: some ten thousand events each."""

KINDS: Final = (
    *("begun", "waiting", "starting", "ready", "exited", "restarting", "hung", "limit"),
    *("failing", "fatal", "stopping", "stopped", "note", "ended"),
)


class Happening(NamedTuple):
    """One event. ``process`` is empty for one of the supervisor itself; ``at_ns`` is wall time.

    ``kind`` is one of `KINDS`; the supervisor itself has begun, or ended.
    """

    at_ns: int
    kind: str
    process: str
    text: str

    def to_json(self) -> str:
        """One line without its newline."""
        return json.dumps(self._asdict(), ensure_ascii=False)

    @classmethod
    def of_json(cls, line: str) -> Happening | None:
        """The event of a line; None for one that is none (cut by a full disk)."""
        try:
            facts = json.loads(line)
            return cls(
                int(facts["at_ns"]), str(facts["kind"]), str(facts["process"]), str(facts["text"])
            )
        except (ValueError, KeyError, TypeError):
            return None


class EventLog:
    """Hands events to whoever wants each as it comes, and keeps them in a file once there is one.

    The file outlives the supervisor. What cannot be written is counted in ``lost``.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Happening], None]] = []
        self._file: Path | None = None
        self.lost = 0

    def keep_in(self, directory: Path) -> None:
        """Append every event from now on to the file in ``directory``, bounded by its size."""
        self._file = directory / FILE_NAME

    def add(self, happening: Happening) -> None:
        """Keep ``happening`` and hand it to every listener, in order of arrival."""
        self._write(happening)
        for listener in self._listeners:
            listener(happening)

    def listen(self, listener: Callable[[Happening], None]) -> None:
        """Call ``listener`` for every event from now on; it must not raise or block."""
        self._listeners.append(listener)

    def _write(self, happening: Happening) -> None:
        if self._file is None:
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                rotate_log(self._file, MAX_FILE_BYTES, 2)
            self._append(self._file, (happening.to_json() + "\n").encode())
        except OSError:
            self.lost += 1

    @staticmethod
    def _append(path: Path, line: bytes) -> None:
        """All of ``line``, or nothing and `OSError`: half a line would take the next one along."""
        with path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if file.write(line) != len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
