"""Topics as bytes: parsing, checking, prefixes.

A topic is ASCII and always ends in ``/``, so that a ZeroMQ prefix subscription is exact at every
level: ``md/trades/sim/BTC-USD/`` never matches ``md/trades/sim/BTC-USDT/``.
"""

from __future__ import annotations

import re
from functools import lru_cache

from bus.errors import TopicError
from bus.model.streams import STREAMS
from bus.model.topic import Topic

MAX_TOPIC_BYTES = 160
"""Longest topic accepted, final slash included."""

_STREAM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VENUE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_SYMBOL = re.compile(r"[A-Za-z0-9$^][A-Za-z0-9._:^=$-]{0,63}")
_PREFIX = re.compile(r"(md|sys)/([A-Za-z0-9._:^=$-]+/){0,3}")


def check_topic(topic: Topic) -> Topic:
    """Return ``topic`` unchanged, or raise :class:`~bus.errors.TopicError` naming the bad part."""
    name = topic.name
    if topic.root == "md":
        if topic.stream not in STREAMS or topic.stream == "status":
            raise TopicError(name, f"unknown stream {topic.stream!r}")
        if not topic.symbol:
            raise TopicError(name, "a market-data topic needs a symbol")
    elif topic.root == "sys":
        if topic.stream != "status":
            raise TopicError(name, f"unknown system stream {topic.stream!r}")
    else:
        raise TopicError(name, "it must begin with md/ or sys/")
    if not _STREAM.fullmatch(topic.stream):
        raise TopicError(name, f"stream {topic.stream!r} is not [a-z0-9_]")
    if not _VENUE.fullmatch(topic.venue):
        raise TopicError(name, f"venue {topic.venue!r} is not [a-z0-9_.-], 1 to 32 characters")
    if topic.symbol and not _SYMBOL.fullmatch(topic.symbol):
        raise TopicError(
            name, f"symbol {topic.symbol!r} is not [A-Za-z0-9._:^=$-], 1 to 64 characters"
        )
    return topic


@lru_cache(maxsize=65536)
def parse_topic(key: bytes) -> Topic:
    """Parse the topic of a frame, e.g. ``b"md/trades/sim/BTC-USDT/"``.

    Raises :class:`~bus.errors.TopicError` for anything else. Results are cached: topics repeat.
    """
    if len(key) > MAX_TOPIC_BYTES:
        raise TopicError(key, f"longer than {MAX_TOPIC_BYTES} bytes")
    try:
        text = key.decode("ascii")
    except UnicodeDecodeError:
        raise TopicError(key, "not ASCII") from None
    if not text.endswith("/"):
        raise TopicError(key, "it must end in /")
    parts = text[:-1].split("/")
    if parts[0] == "md" and len(parts) == 4:
        return check_topic(Topic("md", parts[1], parts[2], parts[3]))
    if parts[0] == "sys" and len(parts) in (3, 4):
        symbol = parts[3] if len(parts) == 4 else ""
        if len(parts) == 4 and not symbol:
            raise TopicError(key, "empty symbol")
        return check_topic(Topic("sys", parts[1], parts[2], symbol))
    raise TopicError(key, "not md/<stream>/<venue>/<symbol>/ or sys/status/<feed>/[<symbol>/]")


def check_prefix(prefix: str | bytes) -> bytes:
    """Return a subscription prefix as bytes; it must end in ``/`` so that it cuts between parts.

    ``""`` is refused: it would also match other consumers' snapshots. Raises
    :class:`~bus.errors.TopicError`.
    """
    text = prefix.decode("ascii", "replace") if isinstance(prefix, bytes) else prefix
    if len(text) > MAX_TOPIC_BYTES or not _PREFIX.fullmatch(text):
        raise TopicError(prefix, "a prefix begins with md/ or sys/ and ends in /")
    return text.encode("ascii")
