"""A publisher's epoch: greater than every one before it, also when the wall clock was set back.

Everybody on the bus takes the greater (epoch, seq) for the newer message. An epoch is the time of
a publisher's start, ms since 1970, so that it needs no memory; but a clock that was corrected
backwards between two starts would make the second one's messages look old, and they would be
ignored until the clock has caught up. So the last epoch given stays in the run directory, and the
next one is at least one more.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from bus.clock import NS_PER_MS
from bus.errors import BusError

FILE_NAME: Final = "epoch"
MAX_EPOCH: Final = (1 << 53) - 1
"""Epochs must stay exact in programs whose numbers are doubles; nothing kept beyond it is used."""


def next_epoch(run_path: Path, now_ns: int) -> int:
    """An epoch, ms since 1970, greater than every one given in this run directory before.

    ``now_ns`` is the wall clock. Safe among processes. A file that holds no number is as good as
    none. Raises :class:`~bus.errors.BusError` when the file cannot be written.
    """
    path = run_path / FILE_NAME
    now_ms = now_ns // NS_PER_MS
    try:
        run_path.mkdir(mode=0o700, exist_ok=True)  # it is not there yet for a process run by hand
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            text = os.pread(fd, 32, 0).decode("ascii", errors="replace").strip()
            last = int(text) if text.isdigit() and int(text) < MAX_EPOCH else 0
            epoch = max(now_ms, last + 1)
            os.pwrite(fd, b"%-31d\n" % epoch, 0)  # one length always: nothing of the last remains
        finally:
            os.close(fd)
    except OSError as error:
        why = error.strerror or error
        raise BusError(f"{path}: {why}; it keeps the order of publishers") from error
    return epoch
