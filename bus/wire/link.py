"""The messages between the supervisor and the processes it runs: one msgpack array a message.

============  ===========  ==========================================================
kind          direction    body, after ``[version, kind]``
============  ===========  ==========================================================
``hello``     child → sup  pid
``ready``     child → sup  endpoints: map of name to URL; verbs: the commands it takes
``beat``      child → sup  number (from 1), at_ns, loop_lag_ms, counters: map of name to value
``draining``  child → sup  reason
``bye``       child → sup  exit_code, line
``reply``     child → sup  id, ok, result: map (empty unless ok), error: text
``stop``      sup → child  reason
``reopen``    sup → child  path: write the log there from now on
``command``   sup → child  id, verb, arguments: map, timeout_s
============  ===========  ==========================================================

Each process has a pair of sockets of its own with the supervisor, so a message need not say who
it is from. Both sides MUST ignore a message whose version they do not know and MUST NOT trust its
lengths: every text and map is bounded here. What a child says of itself is read without what a
terminal would obey, and without numbers that are not finite. A command's arguments and a reply's
result are what JSON can hold.

A ``beat`` is not sent but left in memory that both sides share, each in the place of the one
before. It carries the time of the machine's monotonic clock, as it may be read later.

``ready`` MAY be sent again when the endpoints or verbs change. A ``command`` is answered by exactly
one ``reply`` with its ``id``, unless the process ends first; replies come in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from bus.errors import WireError

LINK_VERSION = 2
MAX_MESSAGE_BYTES = 64 * 1024
MAX_COUNTERS = 128
MAX_ENDPOINTS = 32
MAX_TEXT = 2_000
MAX_VERBS = 64
MAX_DATA_BYTES = 48 * 1024
"""The most a command's arguments or a reply's result may take on the wire."""
MAX_DATA_DEPTH = 8

Counters = Mapping[str, int | float | str]


class LinkError(WireError):
    """A link message is malformed; the sender is at fault and the message is dropped."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The process has started and imported its code."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process serves; ``endpoints`` maps a name (``http``, ``publish``) to a URL, ``verbs``
    are the commands it takes.
    """

    endpoints: Mapping[str, str] = field(default_factory=dict)
    verbs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat from the process's own loop: its number, when it was (monotonic ns), the
    loop's lag and the process's counters.
    """

    number: int
    at_ns: int
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
    """Everything is taken down, for ``reason``: leave soon, for nobody comes in your place.

    Who is asked to leave by SIGTERM alone may take its time: the bus goes on.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Reopen:
    """The supervisor has moved the log away: write to ``path`` from now on."""

    path: str


@dataclass(frozen=True, slots=True)
class Command:
    """The supervisor asks for ``verb`` to be done within ``timeout_s`` and answered by ``id``."""

    id: int
    verb: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the command ``id``: its result, or one sentence that says why not."""

    id: int
    ok: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


LinkMessage = Hello | Ready | Beat | Draining | Bye | Reply | Stop | Reopen | Command


def encode_link(message: LinkMessage) -> bytes:
    """The one frame that carries ``message``; texts and maps are cut to their bounds.

    Raises `LinkError` only for a command or reply whose data `check_data` refuses.
    """
    kind, body = _body(message)
    packed: bytes = msgpack.packb([LINK_VERSION, kind, *body], use_bin_type=True)
    return packed


def decode_link(frame: bytes) -> LinkMessage:
    """The message of ``frame``; raises `LinkError`, and only that, if it is none."""
    if len(frame) > MAX_MESSAGE_BYTES:
        raise LinkError(f"link message of {len(frame)} bytes exceeds {MAX_MESSAGE_BYTES}")
    try:
        fields = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise LinkError(f"link message is not msgpack: {error}") from error
    if not isinstance(fields, list) or len(fields) < 2:
        raise LinkError("link message is not an array of at least 2 fields")
    version, kind, *body = fields
    if version != LINK_VERSION:
        raise LinkError(f"link message of version {version!r}, this is {LINK_VERSION}")
    match kind, body:
        case "hello", [pid, *_]:
            return Hello(_count(pid))
        case "ready", [dict() as endpoints]:
            return Ready(_endpoints(endpoints))
        case "ready", [dict() as endpoints, list() as verbs, *_]:
            return Ready(_endpoints(endpoints), _verbs(verbs))
        case "beat", [number, at_ns, lag_ms, dict() as counters, *_]:
            return Beat(_count(number), _count(at_ns), _number(lag_ms), _counters(counters))
        case "draining", [reason, *_]:
            return Draining(_line(reason))
        case "bye", [exit_code, line, *_]:
            return Bye(_integer(exit_code), _line(line))
        case "stop", [reason, *_]:
            return Stop(_text(reason))
        case "reply", [id_, bool() as ok, result, error, *_]:
            return Reply(_count(id_), ok, check_data(result), _line(error))
        case "reopen", [path, *_]:
            return Reopen(_text(path))
        case "command", [id_, verb, arguments, timeout_s, *_]:
            return Command(_count(id_), _text(verb), check_data(arguments), _number(timeout_s))
    raise LinkError(f"link message of unknown kind or shape: {kind!r}")


def check_data(data: object) -> dict[str, Any]:
    """``data`` as a plain map that JSON can hold, at most `MAX_DATA_BYTES` packed.

    Tuples become lists. Raises `LinkError` for anything else: another type anywhere inside, a key
    that is no text, NaN, an integer beyond 64 bits, more than `MAX_DATA_DEPTH` levels.
    """
    if not isinstance(data, Mapping):
        raise LinkError("expected a map of data")
    plain = _plain(data, 0)
    size = len(msgpack.packb(plain, use_bin_type=True))
    if size > MAX_DATA_BYTES:
        raise LinkError(f"{size} bytes of data exceed {MAX_DATA_BYTES}")
    found: dict[str, Any] = plain
    return found


def _plain(value: object, depth: int) -> Any:
    if depth > MAX_DATA_DEPTH:
        raise LinkError(f"data of more than {MAX_DATA_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case str():
            if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                raise LinkError("a text with a lone surrogate is no text")
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                raise LinkError("an integer beyond 64 bits")
            return value
        case float():
            if not math.isfinite(value):
                raise LinkError("a number that is not finite")
            return value
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise LinkError("a key that is not a text")
            return {_plain(key, depth): _plain(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, depth + 1) for item in value]
    raise LinkError(f"data of type {type(value).__name__}")


def _body(message: LinkMessage) -> tuple[str, list[object]]:
    match message:
        case Hello(pid):
            return "hello", [pid]
        case Ready(endpoints, verbs):
            cut = list(endpoints.items())[:MAX_ENDPOINTS]
            shown = {str(k)[:200]: str(v)[:MAX_TEXT] for k, v in cut}
            return "ready", [shown, [str(verb)[:200] for verb in verbs[:MAX_VERBS]]]
        case Beat(number, at_ns, loop_lag_ms, counters):
            return "beat", [number, at_ns, float(loop_lag_ms), _cut_counters(counters)]
        case Draining(reason):
            return "draining", [reason[:MAX_TEXT]]
        case Bye(exit_code, line):
            return "bye", [exit_code, line[:MAX_TEXT]]
        case Stop(reason):
            return "stop", [reason[:MAX_TEXT]]
        case Reply(id_, ok, result, error):
            return "reply", [id_, ok, check_data(result), error[:MAX_TEXT]]
        case Reopen(path):
            return "reopen", [path]
        case Command(id_, verb, arguments, timeout_s):
            return "command", [id_, verb, check_data(arguments), float(timeout_s)]


def _cut_counters(counters: Counters) -> dict[str, int | float | str]:
    kept: dict[str, int | float | str] = {}
    for key, value in list(counters.items())[:MAX_COUNTERS]:
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            kept[str(key)[:200]] = float(value)  # msgpack holds no wider integer
        elif isinstance(value, (int, float)) and math.isfinite(value):
            kept[str(key)[:200]] = value
        else:
            kept[str(key)[:200]] = str(value)[:200]
    return kept


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise LinkError(f"expected a text of at most {MAX_TEXT} characters")
    return value


def _line(value: object) -> str:
    """A text that is shown to people: what a terminal would obey is a question mark in it."""
    text = _text(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


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
    return {_line(key): _line(value) for key, value in raw.items()}


def _verbs(raw: list[object]) -> tuple[str, ...]:
    if len(raw) > MAX_VERBS:
        raise LinkError(f"more than {MAX_VERBS} verbs")
    return tuple(_text(verb) for verb in raw)


def _counters(raw: dict[object, object]) -> dict[str, int | float | str]:
    if len(raw) > MAX_COUNTERS:
        raise LinkError(f"more than {MAX_COUNTERS} counters")
    counters: dict[str, int | float | str] = {}
    for key, value in raw.items():
        if not isinstance(value, (int, float, str)) or isinstance(value, bool):
            raise LinkError("a counter is neither a number nor a text")
        if isinstance(value, float) and not math.isfinite(value):
            raise LinkError("a counter is not finite")
        counters[_line(key)] = _line(value) if isinstance(value, str) else value
    return counters
