"""The URLs of the bridge: which endpoint a path is, and what its query options say.

Pure text in, values out. A trailing slash never matters. A path that is no WebSocket endpoint
gives ``None`` (the caller then looks among the pages, or answers 404); a bad option is a
:class:`BadOption` to be told to the client after the upgrade, for a browser cannot read an HTTP
status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

from bus.wsbridge.actions import HEARTBEAT_MS, MAX_BATCH_MS
from bus.wsbridge.style import Codec, Numbers

MAX_QUERY_FIELDS = 64


class EndpointKind(Enum):
    """What a WebSocket URL serves."""

    MARKET = "market"
    NEWS = "news"
    MULTI = "multi"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One WebSocket URL. ``symbol`` (or category) and ``stream`` are the client's own text."""

    kind: EndpointKind
    stream: str = ""
    symbol: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether the URL names its one topic."""
        return self.kind in (EndpointKind.MARKET, EndpointKind.NEWS)


@dataclass(frozen=True, slots=True)
class BadOption:
    """A query option that cannot be honoured. ``close`` says that going on would be wrong."""

    code: str
    field: str
    message: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """Query options in force; ``streams`` are topic names for a first ``subscribe``.

    ``None``: the profile decides.
    """

    streams: tuple[str, ...] = ()
    snapshot: bool = True
    depth: int | None = None
    conflate_ms: int = 0
    batch_ms: int = 0
    heartbeat_ms: int | None = None
    events: bool | None = None
    book: Literal["full", "delta"] = "full"
    numbers: Numbers = "float"
    codec: Codec | None = None
    problems: tuple[BadOption, ...] = ()


def endpoint_of(path: str) -> Endpoint | None:
    """The endpoint of a request path (still percent-encoded, without its query)."""
    parts = path.split("/")
    if parts[-1] == "":
        parts.pop()
    if len(parts) < 3 or parts[0] != "" or parts[1] != "ws" or "" in parts[1:]:
        return None
    match parts[2:]:
        case ["market", symbol, stream]:
            return Endpoint(EndpointKind.MARKET, unquote(stream), unquote(symbol))
        case ["news", category]:
            return Endpoint(EndpointKind.NEWS, "news", unquote(category))
        case ["market-multi"] | ["v1"]:
            return Endpoint(EndpointKind.MULTI)
        case ["replay"]:
            return Endpoint(EndpointKind.REPLAY)
        case _:
            return None


_CHOICES: dict[str, tuple[str, ...]] = {
    "book": ("full", "delta"),
    "codec": ("json", "msgpack"),
    "numbers": ("float", "string"),
    "events": ("all", "none"),
    "snapshot": ("0", "1"),
}
_SINGLE = (*_CHOICES, "depth", "conflate_ms", "batch_ms", "heartbeat_ms")
"""Options that may be given once."""


@dataclass
class _Reading:
    found: dict[str, Any] = field(default_factory=dict)
    problems: list[BadOption] = field(default_factory=list)

    def bad(self, name: str, message: str, code: str = "bad_request") -> None:
        self.problems.append(BadOption(code, name, message, close=name == "codec"))


def options_of(query: str, endpoint: Endpoint, max_depth: int) -> Options:
    """Read the query of an endpoint's URL. Unknown options are ignored, as unknown fields are."""
    if not query:
        return Options()
    reading = _Reading()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        reading.bad("query", f"more than {MAX_QUERY_FIELDS} query options")
        pairs = []
    for name, values in _by_name(pairs).items():
        if name == "streams":
            _read_streams(reading, ",".join(values), endpoint)
        elif name in _SINGLE and len(values) > 1:
            reading.bad(name, f"{name} is given more than once")
        elif name in _CHOICES:
            _read_choice(reading, name, values[0])
        elif name in _SINGLE:
            _read_count(reading, name, values[0], max_depth)
    return Options(**reading.found, problems=tuple(reading.problems))


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _read_streams(reading: _Reading, value: str, endpoint: Endpoint) -> None:
    if endpoint.kind is not EndpointKind.MULTI:
        reading.bad("streams", "streams belongs to the multi endpoint; this URL names its topic")
        return
    streams = tuple(filter(None, (part.strip() for part in value.split(","))))
    if streams:
        reading.found["streams"] = streams
    else:
        reading.bad("streams", "streams is a list of topics such as price.BTC,trades.ETH")


def _read_choice(reading: _Reading, name: str, value: str) -> None:
    if value not in _CHOICES[name]:
        if value or name != "events":
            reading.bad(name, f"{name} is {' or '.join(_CHOICES[name])}")
    elif name == "snapshot":
        reading.found[name] = value == "1"
    elif name == "events":
        reading.found[name] = value == "all"
    else:
        reading.found[name] = value


def _read_count(reading: _Reading, name: str, value: str, max_depth: int) -> None:
    if not _is_count(value):
        unit = "levels, at least 1" if name == "depth" else "milliseconds"
        reading.bad(name, f"{name} is a whole number of {unit}")
        return
    count = int(value)
    low, high = HEARTBEAT_MS
    if name == "depth" and count < 1:
        reading.bad(name, "depth is a whole number of levels, at least 1")
    elif name == "depth" and count > max_depth:
        reading.bad(name, f"depth is at most {max_depth} levels", "limit_depth")
    elif name == "batch_ms" and count > MAX_BATCH_MS:
        reading.bad(name, f"batch_ms is 0 (off) to {MAX_BATCH_MS}")
    elif name == "heartbeat_ms" and count and not low <= count <= high:
        reading.bad(name, f"heartbeat_ms is 0 (off) or {low} to {high}")
    else:
        reading.found[name] = count


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
