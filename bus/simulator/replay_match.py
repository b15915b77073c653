"""Which client stands for which captured connection, and which call for which captured one. Pure.

No venue is known here. A control message is taken apart into *atoms*, one for each thing it asks
for, whatever the venue's wording; a client and a captured connection that asked for the same are
the same. A REST call is known by path and query; parameters that follow the date or what was
seen before may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bus.capture.secrets import is_secret

SERIAL: Final = frozenset({"id", "reqid", "req_id", "timestamp", "time"})
"""Keys of control messages that number or date them."""
SOFT: Final = frozenset(
    {"from", "to", "minId", "limit", "startTime", "endTime", "timestamp", "symbols", "start", "end"}
)
"""Query parameters that need not be equal, though it is better when they are."""
MAX_DEPTH: Final = 8

_decode = msgspec.json.Decoder().decode


def atoms(message: bytes | str) -> frozenset[str]:
    """What a control message asks for, one text for each thing; the order does not matter.

    Lists are taken apart, everything else of the message belongs to each of their items:
    ``{"method":"SUBSCRIBE","params":["a","b"]}`` asks for two things. What is no JSON is one atom.
    """
    try:
        value = _decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = message if isinstance(message, str) else message.decode("utf-8", "replace")
        return frozenset({text})
    plain: list[str] = []
    listed: list[tuple[str, str]] = []
    for path, item, is_listed in _leaves(value, "", 0):
        if is_listed:
            listed.append((path, item))
        else:
            plain.append(f"{path}={item}")
    stem = "&".join(sorted(plain))
    return frozenset(f"{stem}&{path}={item}" for path, item in listed) or frozenset({stem})


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str, bool]]:
    """Every value inside, with its path, and whether it stands in a list."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.lower() not in SERIAL and not is_secret(name):
                yield from _leaves(inner, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for inner in value:
            for below, item, _ in _leaves(inner, path, depth + 1):
                yield below, item, True
    else:
        yield path, str(value), False


def likeness(
    path: str, query: Mapping[str, str], other_path: str, other_query: Mapping[str, str]
) -> int | None:
    """How alike two REST calls are, more is better; ``None``: neither can stand for the other."""
    if path != other_path:
        return None
    score = 1
    for name in {*query, *other_query}:
        if is_secret(name):
            continue
        if query.get(name) == other_query.get(name):
            score += 1
        elif name not in SOFT:
            return None
    return score
