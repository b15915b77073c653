"""Reading captures back, in tests."""

from __future__ import annotations

from pathlib import Path

from bus.capture import Decoder, Head, Record


def capture_files(folder: Path) -> list[Path]:
    """All capture files under a folder, oldest first."""
    return sorted(folder.rglob("*.mdcap"))


def read_file(path: Path) -> list[Record]:
    """Every record of one file, which must not be damaged."""
    decoder = Decoder()
    found = [*decoder.feed(path.read_bytes()), *decoder.finish()]
    assert decoder.cuts == []
    return found


def read_captured(folder: Path) -> list[Record]:
    """Every record of all files but their heads."""
    return [
        record
        for path in capture_files(folder)
        for record in read_file(path)
        if not isinstance(record, Head)
    ]
