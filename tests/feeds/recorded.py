"""Reading the recorded files: lines to (receive time, raw frame)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")


def lines(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Every line of both files: receive time in ns and raw JSON, frames and the REST reply."""
    for name in FILES:
        with gzip.open(folder / name, "rb") as file:
            for line in file:
                received, _, raw = line.strip().partition(b" ")
                yield int(received), raw


def is_snapshot(raw: bytes) -> bool:
    return raw.startswith(b'{"lastUpdateId"')
