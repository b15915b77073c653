"""The files of one feed's capture: begun, written, rolled, deleted. Used by one thread.

``<folder>/<UTC date>/<feed>-<HHMMSS>-<n>.mdcap``, folders 0700, files 0600. Every file can be read
alone: it begins with what it is of and which connections are open with which subscriptions.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bus.capture import MAGIC, BlockEncoder, Closed, Head, Opened, Record, Sent
from bus.capture.files import SUFFIX, Kept, file_path, is_due, to_delete
from bus.capture.records import encode
from bus.runtime import get_logger

_log = get_logger("feeds.capture")

MAX_CARRIED: Final = 1_000
"""Control messages of one connection that a new file repeats; of more, the first ones."""
MAX_NAMES: Final = 10_000


@dataclass(slots=True)
class _Carried:
    """An open connection, as a new file has to tell it."""

    opened: Opened
    sent: list[Sent] = field(default_factory=list)


class CaptureFiles:
    """Writes blocks of records; at most ``max_bytes`` on the disk, ``roll_bytes`` in a file.

    ``head`` begins every file, its ``part`` counted on. The counters only grow.
    """

    def __init__(self, folder: Path, head: Head, *, max_bytes: int, roll_bytes: int) -> None:
        self._folder = folder
        self._head = head
        self._max_bytes = max_bytes
        self._roll_bytes = min(roll_bytes, max_bytes // 2)
        self._file: int | None = None
        self._encoder = BlockEncoder()
        self._path = ""
        self._begun_ns = self._size = 0
        self._kept: list[Kept] | None = None
        self._carried: dict[int, _Carried] = {}
        self.bytes_out = 0
        self.files = 0
        self.deleted = 0

    def write(self, raw: bytes, now_ns: int) -> None:
        """Write encoded records, whole ones, as one block. Raises OSError; then :meth:`end`."""
        if self._file is not None and is_due(self._begun_ns, self._size, now_ns, self._roll_bytes):
            self.end()
        if self._file is None:
            self._begin(now_ns)
        self._append(self._encoder.block(raw))
        if (
            self._kept
            and self._size + sum(kept.size_bytes for kept in self._kept) > self._max_bytes
        ):
            self._make_room(0)

    def follow(self, record: Record) -> None:
        """Keep in mind which connections are open: the next file has to say so."""
        if isinstance(record, Opened):
            self._carried[record.connection] = _Carried(record)
        elif isinstance(record, Closed):
            self._carried.pop(record.connection, None)
        elif isinstance(record, Sent) and record.connection in self._carried:
            sent = self._carried[record.connection].sent
            if len(sent) < MAX_CARRIED:
                sent.append(record)

    def end(self) -> None:
        """Close the file; the next write begins another one."""
        if self._file is None:
            return
        with suppress(OSError):  # what was written is written
            os.close(self._file)
        self._file = None
        if self._kept is not None:
            self._kept.append(Kept(self._path, self._size))

    def _begin(self, now_ns: int) -> None:
        self._make_room(self._roll_bytes)
        self._path, self._file = self._create(now_ns)
        self._begun_ns, self._size = now_ns, 0
        self._encoder = BlockEncoder()
        self.files += 1
        first: list[Record] = [msgspec.structs.replace(self._head, time_ns=now_ns, part=self.files)]
        for carried in self._carried.values():
            again = len(carried.sent)
            first.append(msgspec.structs.replace(carried.opened, carried=True, carried_sent=again))
            first += carried.sent
        self._append(MAGIC + self._encoder.block(b"".join(map(encode, first))))
        _log.info("capture file", path=self._folder / self._path, part=self.files)

    def _create(self, now_ns: int) -> tuple[str, int]:
        for number in range(1, MAX_NAMES):
            path = file_path(self._head.feed, now_ns, number)
            full = self._folder / path
            full.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            with suppress(FileExistsError):
                return path, os.open(full, flags, 0o600)
        raise FileExistsError(errno.EEXIST, "no free name for a capture file", str(self._folder))

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._size += written
            self.bytes_out += written
            view = view[written:]

    def _make_room(self, coming_bytes: int) -> None:
        """Delete the oldest files until the open one and ``coming_bytes`` fit beside the rest."""
        if self._kept is None:
            self._kept = [
                Kept(str(path.relative_to(self._folder)), path.stat().st_size)
                for path in sorted(self._folder.glob(f"*/*{SUFFIX}"))
            ]
        own = self._size if self._file is not None else 0
        for kept in to_delete(self._kept, own + coming_bytes, self._max_bytes):
            path = self._folder / kept.path
            path.unlink(missing_ok=True)
            with suppress(OSError):  # as a rule there are others in it
                path.parent.rmdir()
            self._kept.remove(kept)
            self.deleted += 1
            _log.info("capture deleted", path=path, why="capture_max_bytes")
