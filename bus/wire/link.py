"""The messages between the supervisor and the processes it runs: one msgpack array a message.

============  ===========  ==========================================================
kind          direction    body, after ``[version, kind, name, generation, token]``
============  ===========  ==========================================================
``hello``     child → sup  pid
``ready``     child → sup  endpoints: map of name to URL
``beat``      child → sup  number (from 1), loop_lag_ms, counters: map of name to value
``draining``  child → sup  reason
``bye``       child → sup  exit_code, line
``stop``      sup → child  reason
``dump``      sup → child  (empty) write every thread's stack to the log
============  ===========  ==========================================================

``generation`` counts the spawns of one name from 1; ``token`` is the secret of one spawn, so
that a process left over from an earlier supervisor cannot speak for its successor. Both sides
MUST ignore a message whose version they do not know and MUST NOT trust its lengths: every text
and map is bounded here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgpack

from bus.errors import WireError

LINK_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
MAX_COUNTERS = 128
MAX_ENDPOINTS = 32
MAX_TEXT = 2_000

Counters = Mapping[str, int | float | str]


class LinkError(WireError):
    """A link message is malformed; the sender is at fault and the message is dropped."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Which spawn of which process a message is from, or to."""

    name: str
    generation: int
    token: str


@dataclass(frozen=True, slots=True)
class Hello:
    """The process has started and imported its code."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process serves; ``endpoints`` maps a name (``http``, ``publish``) to a URL."""

    endpoints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat from the process's own loop: its number, its lag and its counters."""

    number: int
    loop_lag_ms: float
    counters: Counters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draining:
    """The process has begun to stop, for ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The last word: the exit code to expect and, when it failed, one clear line."""

    exit_code: int
    line: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """The supervisor asks for a drain and an exit, for ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dump:
    """The supervisor asks for every thread's stack in the log."""


LinkMessage = Hello | Ready | Beat | Draining | Bye | Stop | Dump


def encode_link(sender: Sender, message: LinkMessage) -> bytes:
    """The one frame that carries ``message``; texts and maps are cut to their bounds."""
    kind, body = _body(message)
    head = [LINK_VERSION, kind, sender.name, sender.generation, sender.token]
    packed: bytes = msgpack.packb([*head, *body], use_bin_type=True)
    return packed


def decode_link(frame: bytes) -> tuple[Sender, LinkMessage]:
    """The sender and message of ``frame``; raises `LinkError`, and only that, if it is neither."""
    if len(frame) > MAX_MESSAGE_BYTES:
        raise LinkError(f"link message of {len(frame)} bytes exceeds {MAX_MESSAGE_BYTES}")
    try:
        fields = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise LinkError(f"link message is not msgpack: {error}") from error
    if not isinstance(fields, list) or len(fields) < 5:
        raise LinkError("link message is not an array of at least 5 fields")
    version, kind, name, generation, token, *body = fields
    if version != LINK_VERSION:
        raise LinkError(f"link message of version {version!r}, this is {LINK_VERSION}")
    sender = Sender(_text(name), _count(generation), _text(token))
    match kind, body:
        case "hello", [pid, *_]:
            return sender, Hello(_count(pid))
        case "ready", [dict() as endpoints, *_]:
            return sender, Ready(_endpoints(endpoints))
        case "beat", [number, lag_ms, dict() as counters, *_]:
            return sender, Beat(_count(number), _number(lag_ms), _counters(counters))
        case "draining", [reason, *_]:
            return sender, Draining(_text(reason))
        case "bye", [exit_code, line, *_]:
            return sender, Bye(_integer(exit_code), _text(line))
        case "stop", [reason, *_]:
            return sender, Stop(_text(reason))
        case "dump", _:
            return sender, Dump()
    raise LinkError(f"link message of unknown kind or shape: {kind!r}")


def _body(message: LinkMessage) -> tuple[str, list[object]]:
    match message:
        case Hello(pid):
            return "hello", [pid]
        case Ready(endpoints):
            cut = list(endpoints.items())[:MAX_ENDPOINTS]
            return "ready", [{str(k)[:200]: str(v)[:MAX_TEXT] for k, v in cut}]
        case Beat(number, loop_lag_ms, counters):
            return "beat", [number, float(loop_lag_ms), _cut_counters(counters)]
        case Draining(reason):
            return "draining", [reason[:MAX_TEXT]]
        case Bye(exit_code, line):
            return "bye", [exit_code, line[:MAX_TEXT]]
        case Stop(reason):
            return "stop", [reason[:MAX_TEXT]]
        case Dump():
            return "dump", []


def _cut_counters(counters: Counters) -> dict[str, int | float | str]:
    kept: dict[str, int | float | str] = {}
    for key, value in list(counters.items())[:MAX_COUNTERS]:
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            kept[str(key)[:200]] = float(value)  # msgpack holds no wider integer
        elif isinstance(value, (int, float)):
            kept[str(key)[:200]] = value
        else:
            kept[str(key)[:200]] = str(value)[:200]
    return kept


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise LinkError(f"expected a text of at most {MAX_TEXT} characters")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise LinkError("expected an integer")
    return value


def _count(value: object) -> int:
    number = _integer(value)
    if number < 0:
        raise LinkError("expected a count, not a negative number")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise LinkError("expected a finite number")
    return float(value)


def _endpoints(raw: dict[object, object]) -> dict[str, str]:
    if len(raw) > MAX_ENDPOINTS:
        raise LinkError(f"more than {MAX_ENDPOINTS} endpoints")
    return {_text(key): _text(value) for key, value in raw.items()}


def _counters(raw: dict[object, object]) -> dict[str, int | float | str]:
    if len(raw) > MAX_COUNTERS:
        raise LinkError(f"more than {MAX_COUNTERS} counters")
    counters: dict[str, int | float | str] = {}
    for key, value in raw.items():
        if not isinstance(value, (int, float, str)) or isinstance(value, bool):
            raise LinkError("a counter is neither a number nor a text")
        counters[_text(key)] = value
    return counters
