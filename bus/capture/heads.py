"""What a capture says of itself, and how a bus has to be set to play it. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from bus.capture.blocks import CaptureError, Decoder
from bus.capture.records import Head, Record
from bus.config.feeds import DEFAULT_FEEDS, FeedSettings


def head_of(data: Iterable[bytes]) -> Head:
    """The head of a file, read in portions, no more of them than needed. Raises CaptureError."""
    decoder = Decoder()
    for portion in data:
        for record in decoder.feed(portion):
            return _head(record)
    for record in decoder.finish():
        return _head(record)
    raise CaptureError("it holds nothing that can be played")


def replay_overrides(heads: Sequence[Head]) -> list[str]:
    """``key=value`` settings with which captures are played as they were made.

    The captured feeds with their symbols and whatever shapes their ticks; the other feeds of the
    default profile off. Settings that this version does not have are left out.
    """
    known = {field.name for field in dataclasses.fields(FeedSettings)}
    feeds = {head.feed: head for head in heads}
    found = [f"feeds.{feed}.enabled=false" for feed in DEFAULT_FEEDS if feed not in feeds]
    for feed, head in feeds.items():
        values = {"venue": head.venue, "enabled": True, "symbols": head.symbols, **head.settings}
        found += [
            f"feeds.{feed}.{name}={json.dumps(value, ensure_ascii=False)}"
            for name, value in values.items()
            if name in known
        ]
    return found


def _head(record: Record) -> Head:
    if not isinstance(record, Head):
        raise CaptureError("it does not say what it is of")
    return record
