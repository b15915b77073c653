"""Captures on disk: which venue they are of, in which order, and their records one by one.

Nothing is held in memory but the heads, so captures may be of any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bus.capture import CaptureError, Cut, Decoder, Head, Record
from bus.capture.files import SUFFIX
from bus.capture.heads import head_of
from bus.errors import ConfigError
from bus.runtime import get_logger

_log = get_logger("simulator.captured")

SETTING: Final = "simulator.playback_files"
READ_BYTES: Final = 64 * 1024


def are_captures(files: Sequence[str]) -> bool:
    """Whether the files to be played are captures. Raises ConfigError when only some are."""
    captures = [name for name in files if name.endswith(SUFFIX)]
    if captures and len(captures) < len(files):
        others = ", ".join(name for name in files if not name.endswith(SUFFIX))
        raise ConfigError.of(
            SETTING, f"captures ({SUFFIX}) and other recordings do not go together: {others}"
        )
    return bool(captures)


class Captures:
    """The captures of one venue, in the order of their beginning.

    ``heads`` is empty when none of the files is of the venue. ``cuts`` lists damage met by
    :meth:`records` so far.
    """

    def __init__(self, files: Sequence[tuple[Head, Path]]) -> None:
        self._files = sorted(files, key=lambda file: (file[0].run, file[0].part))
        self.cuts: list[tuple[Path, Cut]] = []

    @classmethod
    def open(cls, files: Sequence[str | Path], venue: str) -> Captures:
        """Look at all files' heads. Raises ConfigError for what is no capture, or of two feeds."""
        found = [(read_head(path), path) for path in map(Path, files)]
        captures = cls([(head, path) for head, path in found if head.venue == venue])
        feeds = sorted({head.feed for head in captures.heads})
        if len(feeds) > 1:
            raise ConfigError.of(
                SETTING, f"captures of {venue} by several feeds ({', '.join(feeds)}): play one"
            )
        return captures

    @property
    def heads(self) -> list[Head]:
        """What each file says of itself."""
        return [head for head, _ in self._files]

    def records(self) -> Iterator[Record]:
        """Every record in order. What is damaged is left out, logged and listed in ``cuts``.

        Raises ConfigError when a file has become unreadable.
        """
        for _, path in self._files:
            decoder = Decoder()
            try:
                with path.open("rb") as file:
                    while data := file.read(READ_BYTES):
                        yield from decoder.feed(data)
                    yield from decoder.finish()
            except (OSError, CaptureError) as error:
                raise _unreadable(path, error) from error
            for cut in decoder.cuts:
                self.cuts.append((path, cut))
                _log.warning(
                    "capture damaged",
                    path=path,
                    at=cut.offset,
                    lost_bytes=cut.size_bytes,
                    why=cut.why,
                )


def read_head(path: Path) -> Head:
    """What a capture file says of itself. Raises ConfigError when it is none."""
    try:
        with path.open("rb") as file:
            return head_of(iter(lambda: file.read(READ_BYTES), b""))
    except (OSError, CaptureError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    why = getattr(error, "strerror", None) or str(error)
    return ConfigError.of(SETTING, f"cannot be played: {why}", where=str(path))
