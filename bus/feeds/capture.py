"""Keeps everything a feed receives and sends: the shell around ``bus.capture``.

The event loop only puts bytes into a queue; a thread of its own compresses and writes them, at
least every quarter of a second, so that a process killed at any moment has lost less than the last
second. The order of the records is the order in which the feed's code got what they hold, over all
connections and REST calls together: that is what makes a replay exact.

Bounds. The queue holds :data:`MAX_QUEUED_BYTES`; when the disk cannot keep up, the newest records
are left out, counted, and the file says where (a ``Hole``). A disk that refuses to be written
costs records, told likewise, never the feed. Files and their bound: ``capture_files``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bus.capture import CAUSE, Again, Closed, Exchange, Head, Hole, Opened, Record, Sent
from bus.capture.records import encode, frame_header
from bus.capture.secrets import safe_message, safe_query, safe_url
from bus.clock import monotonic_ns, now_ns
from bus.config import FeedSettings
from bus.feeds.capture_files import CaptureFiles
from bus.feeds.log_limit import LogLimit
from bus.runtime import get_logger

_log = get_logger("feeds.capture")

FLUSH_S: Final = 0.25
"""Longest time a record waits before it is written."""
WAKE_BYTES: Final = 512 * 1024
"""A queue this long is written at once."""
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
RETRY_NS: Final = 2_000_000_000
"""After a failed write a new file is tried this often."""
CLOSE_S: Final = 10.0

REPLAYED_SETTINGS: Final = (
    "news_categories",
    "news_stream",
    "orderbook_levels",
    "depth_limit",
    "book_max_levels",
    "buffer_diffs",
    "depth_snapshot_deltas",
    "streams_per_connection",
)
"""Settings that shape the ticks; a replay takes them from the file."""


@dataclass(frozen=True, slots=True)
class CaptureStats:
    """Counters of one feed's capture since it started.

    ``records`` and ``bytes_in`` taken; ``bytes_out`` written, compressed; ``files`` begun;
    ``dropped`` records left out, because the queue was full or the disk refused; ``deleted``
    old files; ``errors`` of the disk; ``queued_bytes`` now, ``queue_high_water`` at most.
    """

    records: int
    bytes_in: int
    bytes_out: int
    files: int
    dropped: int
    deleted: int
    errors: int
    queued_bytes: int
    queue_high_water: int


class Capture:
    """The capture of one feed. Call it on the event loop's thread; :meth:`close` ends it.

    ``clock`` gives wall-clock ns.
    """

    def __init__(
        self,
        files: CaptureFiles,
        *,
        clock: Callable[[], int] = now_ns,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._files = files
        self._clock = clock
        self._max_queued_bytes = max_queued_bytes
        self._names: dict[int, str] = {}
        self._connections = 0
        # between the two threads, under the condition
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self._controls: list[Record] = []
        self._queued_records = self._queued_bytes = self._high_water = 0
        self._records = self._bytes_in = self._dropped = self._errors = 0
        self._hole: Hole | None = None
        self._closing = False
        # the writer's own
        self._retry_at_ns = 0
        self._complain = LogLimit(_log.error)
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    # what the feed's code calls

    def connection(self, name: str, url: str) -> ConnectionTap:
        """A connection begins: what it gets and sends goes to the object returned.

        ``name`` of the session; a second one of the same name is the successor of the first.
        """
        self._connections += 1
        number = self._connections
        successor = name in self._names.values()
        self._names[number] = name
        opened = Opened(self._clock(), number, name, safe_url(url), successor)
        self._put([encode(opened)], 1, opened)
        return ConnectionTap(self, number)

    def frames(self, number: int, batch: Sequence[bytes], recv_ns: int) -> None:
        """All frames of one read."""
        parts: list[bytes] = []
        for frame in batch:
            parts.append(frame_header(len(frame), recv_ns, number))
            parts.append(frame)
        self._put(parts, len(batch))

    def sent(self, number: int, message: str, *, again: bool = False) -> None:
        """A control message is about to be sent; ``again``: see :class:`bus.capture.Again`."""
        text = safe_message(message).encode()
        if again:
            self._put([encode(Again(self._clock(), number, text))], 1)
            return
        sent = Sent(self._clock(), number, text)
        self._put([encode(sent)], 1, sent)

    def closed(self, number: int, code: int, reason: str, detail: str = "") -> None:
        """The connection has ended; once for each."""
        self._names.pop(number, None)
        closed = Closed(self._clock(), number, code, reason, detail)
        self._put([encode(closed)], 1, closed)

    def exchange(
        self,
        path: str,
        query: Mapping[str, str | int],
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        recv_ns: int,
        cause: str = "",
    ) -> None:
        """A REST answer, right before the feed's code gets it; ``status`` 0: none came.

        ``cause`` ``capture``: asked for on account of a new file, and by nobody else.
        """
        kept = {name: headers[name] for name in ("Retry-After",) if name in headers}
        if cause:
            kept[CAUSE] = cause
        self._put([encode(Exchange(recv_ns, 0, path, safe_query(query), status, kept, body))], 1)

    def stats(self) -> CaptureStats:
        """The counters, as one frozen value."""
        files = self._files
        with self._changed:
            return CaptureStats(
                records=self._records,
                bytes_in=self._bytes_in,
                bytes_out=files.bytes_out,
                files=files.files,
                dropped=self._dropped,
                deleted=files.deleted,
                errors=self._errors,
                queued_bytes=self._queued_bytes,
                queue_high_water=self._high_water,
            )

    @property
    def files(self) -> int:
        """Files begun so far."""
        return self._files.files

    def report(self) -> dict[str, int | float | str]:
        """The counters for a heartbeat."""
        stats = self.stats()
        return {f"capture_{name}": getattr(stats, name) for name in CaptureStats.__slots__}

    def close(self) -> None:
        """Write what is queued and end; waits for the disk, at most 10 s."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _put(self, parts: list[bytes], records: int, control: Record | None = None) -> None:
        size = sum(map(len, parts))
        with self._changed:
            if control is not None:  # told by the next file even when left out of this one
                self._controls.append(control)
            if self._queued_bytes + size > self._max_queued_bytes or self._closing:
                self._leave_out(records, size, "the queue was full")
                return
            if self._hole is not None:
                self._queue.append(encode(self._hole))
                self._hole = None
            self._queue += parts
            self._records += records
            self._queued_records += records
            self._bytes_in += size
            before, self._queued_bytes = self._queued_bytes, self._queued_bytes + size
            self._high_water = max(self._high_water, self._queued_bytes)
            if before < WAKE_BYTES <= self._queued_bytes:
                self._changed.notify()

    def _leave_out(self, records: int, size: int, why: str) -> None:
        """Count it, and have the file say so when there is room again. Under the condition."""
        self._dropped += records
        hole = self._hole or Hole(self._clock(), 0, 0, 0, why)
        records, size = hole.records + records, hole.size_bytes + size
        self._hole = Hole(hole.time_ns, 0, records, size, hole.why)

    # the writer's thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._closing and self._queued_bytes < WAKE_BYTES:
                    self._changed.wait(FLUSH_S)
                closing = self._closing
                queue, self._queue = self._queue, []
                controls, self._controls = self._controls, []
                records, self._queued_records = self._queued_records, 0
                size, self._queued_bytes = self._queued_bytes, 0
            if queue:
                self._write(b"".join(queue), records, size)
            for control in controls:
                self._files.follow(control)
            if closing:
                if self._hole is not None:
                    self._write(encode(self._hole), 0, 0)
                self._files.end()
                return

    def _write(self, raw: bytes, records: int, size: int) -> None:
        failed = 0
        if monotonic_ns() >= self._retry_at_ns:
            try:
                self._files.write(raw, self._clock())
                return
            except OSError as error:
                self._files.end()
                self._retry_at_ns = monotonic_ns() + RETRY_NS
                why = error.strerror or str(error)
                self._complain(monotonic_ns(), why, "capture cannot be written", error=why)
                failed = 1
        with self._changed:  # in one step: whoever sees the error finds the hole noted
            self._errors += failed
            self._leave_out(records, size, "the disk refused")


class ConnectionTap:
    """One connection's way into the capture."""

    __slots__ = ("_capture", "_is_closed", "number")

    def __init__(self, capture: Capture, number: int) -> None:
        self._capture = capture
        self._is_closed = False
        self.number = number

    def frames(self, batch: Sequence[bytes], recv_ns: int) -> None:
        """See :meth:`Capture.frames`."""
        self._capture.frames(self.number, batch, recv_ns)

    def sent(self, message: str, *, again: bool = False) -> None:
        """See :meth:`Capture.sent`."""
        self._capture.sent(self.number, message, again=again)

    def closed(self, code: int | None, *, left: bool, detail: str = "") -> None:
        """The connection is gone; ``left``: this side closed it. Later calls do nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._capture.closed(self.number, code or 0, "left" if left else "closed", detail)


def capture_folder(settings: FeedSettings, feed: str) -> Path:
    """Where the captures of a feed go."""
    if settings.capture_dir:
        return Path(settings.capture_dir).expanduser() / feed
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "mdbus" / "capture" / feed


def start_capture(
    settings: FeedSettings, feed: str, venue: str, *, simulated: bool
) -> Capture | None:
    """The capture that the settings ask for, running; ``None`` when they ask for none."""
    if not settings.capture:
        return None
    kept: dict[str, Any] = {name: getattr(settings, name) for name in REPLAYED_SETTINGS}
    run = now_ns()
    head = Head(run, 0, feed, venue, run, 0, simulated, settings.symbols, kept)
    folder = capture_folder(settings, feed)
    _log.info("capturing", folder=folder, max_bytes=settings.capture_max_bytes)
    files = CaptureFiles(
        folder,
        head,
        max_bytes=settings.capture_max_bytes,
        roll_bytes=settings.capture_roll_bytes,
    )
    return Capture(files)
