"""The URLs of the bridge: which endpoint a path is, and what its query options say.

Pure text in, values out. A trailing slash never matters. A path that is no WebSocket endpoint
gives ``None`` (the caller then looks among the pages, or answers 404); a bad option is a
:class:`BadOption` to be told to the client after the upgrade, for a browser cannot read an HTTP
status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote

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
    """Query options in force; ``streams`` are topic names for a first ``subscribe``."""

    streams: tuple[str, ...] = ()
    snapshot: bool = True
    depth: int | None = None
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


_SAME_AS_DEFAULT = {
    "conflate_ms": "0",
    "batch_ms": "0",
    "heartbeat_ms": "0",
    "book": "full",
    "codec": "json",
    "numbers": "float",
    "events": "",
}
"""Options of capabilities that are not enabled, and the one value that asks for nothing new."""

_CHOICES = {
    "book": ("full", "delta"),
    "codec": ("json", "msgpack"),
    "numbers": ("float", "string"),
    "events": ("all",),
}


@dataclass
class _Reading:
    streams: tuple[str, ...] = ()
    snapshot: bool = True
    depth: int | None = None
    problems: list[BadOption] = field(default_factory=list)

    def bad(self, name: str, message: str) -> None:
        self.problems.append(BadOption("bad_request", name, message))


def options_of(query: str, endpoint: Endpoint, max_depth: int) -> Options:
    """Read the query of an endpoint's URL. Unknown options are ignored, as unknown fields are."""
    reading = _Reading()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        reading.bad("query", f"more than {MAX_QUERY_FIELDS} query options")
        pairs = []
    for name, values in _by_name(pairs).items():
        if name == "streams":
            values = [",".join(values)]
        elif len(values) > 1 and (name in _SAME_AS_DEFAULT or name in ("snapshot", "depth")):
            reading.bad(name, f"{name} is given more than once")
            continue
        _read(reading, name, values[0], endpoint, max_depth)
    return Options(reading.streams, reading.snapshot, reading.depth, tuple(reading.problems))


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _read(reading: _Reading, name: str, value: str, endpoint: Endpoint, max_depth: int) -> None:
    if name == "streams":
        if endpoint.kind is not EndpointKind.MULTI:
            reading.bad(name, "streams belongs to the multi endpoint; this URL names its topic")
        else:
            reading.streams = tuple(filter(None, (part.strip() for part in value.split(","))))
            if not reading.streams:
                reading.bad(name, "streams is a list of topics such as price.BTC,trades.ETH")
    elif name == "snapshot":
        if value not in ("0", "1"):
            reading.bad(name, "snapshot is 0 or 1")
        else:
            reading.snapshot = value == "1"
    elif name == "depth":
        if not _is_count(value) or int(value) < 1:
            reading.bad(name, "depth is a whole number of levels, at least 1")
        elif int(value) > max_depth:
            reading.problems.append(
                BadOption("limit_depth", name, f"depth is at most {max_depth} levels")
            )
        else:
            reading.depth = int(value)
    elif name in _SAME_AS_DEFAULT and value != _SAME_AS_DEFAULT[name]:
        if name in _CHOICES and value not in _CHOICES[name]:
            reading.bad(name, f"{name} is {' or '.join(_CHOICES[name])}")
        elif name not in _CHOICES and not _is_count(value):
            reading.bad(name, f"{name} is a whole number of milliseconds")
        else:
            reading.problems.append(
                BadOption(
                    "unsupported", name, f"{name}={value} is not enabled", close=name == "codec"
                )
            )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
