"""Capture files made by hand."""

from __future__ import annotations

from pathlib import Path

from bus.capture import MAGIC, BlockEncoder, Exchange, Head, Record
from bus.capture.records import encode

SECOND_NS = 1_000_000_000
START_NS = 1_723_161_253 * SECOND_NS


def head(part: int = 1, run: int = START_NS, venue: str = "binance", feed: str = "") -> Head:
    return Head(START_NS, 0, feed or venue, venue, run, part, True)


def exchange(path: str, body: bytes, status: int = 200, **query: str) -> Exchange:
    return Exchange(START_NS, 0, path, query, status, {}, body)


def write(path: Path, *records: Record) -> Path:
    """A file with a block for each record."""
    encoder = BlockEncoder()
    path.write_bytes(MAGIC + b"".join(encoder.block(encode(record)) for record in records))
    return path
