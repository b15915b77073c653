"""Which topics a request names: by ``topics``, or by ``symbols`` and ``stream_type``.

Pure. Nothing here refuses: a name that means nothing is an
:class:`~bus.wsbridge.topics.Unknown` in its place, to be rejected by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET

from bus.wsbridge.messages import SnapshotRequest, Subscribe, Unsubscribe
from bus.wsbridge.topics import Directory, MarketTopic, Unknown, stream_named

Found = tuple[str, MarketTopic | Unknown]


def named_topics(directory: Directory, request: Subscribe | SnapshotRequest) -> list[Found]:
    """Each topic of a request as (the client's own text, what it is)."""
    if request.topics is not UNSET:
        return [(name, directory.resolve_topic(name)) for name in request.topics]
    streams = _streams(request) or ["price"]
    return [
        (symbol, directory.resolve(stream, symbol))
        for symbol in _symbols(request)
        for stream in streams
    ]


def held_topics(
    directory: Directory, request: Unsubscribe, held: Iterable[MarketTopic]
) -> list[tuple[str, list[MarketTopic]]]:
    """Each name of an ``unsubscribe`` as (the client's text, the held topics it means).

    A symbol without a stream type means every stream of it, from whatever source.
    """
    held = list(held)
    if request.topics is not UNSET:
        found = [(name, directory.resolve_topic(name)) for name in request.topics]
        return [
            (
                name,
                [t for t in held if not isinstance(topic, Unknown) and t.name == topic.name],
            )
            for name, topic in found
        ]
    streams = _streams(request)
    words = None if streams is None else {stream_named(stream) for stream in streams}
    result: list[tuple[str, list[MarketTopic]]] = []
    for symbol in _symbols(request):
        known = directory.resolve("price", symbol)
        meant: list[MarketTopic] = []
        for topic in held:
            if words is not None and topic.stream not in words:
                continue
            if topic.stream == "news":
                same = topic.symbol == symbol.lower()
            elif isinstance(known, Unknown):
                same = False
            elif "@" in symbol:
                same = topic.name.partition(".")[2] == known.name.partition(".")[2]
            else:
                same = topic.symbol == known.symbol
            if same:
                meant.append(topic)
        result.append((symbol, meant))
    return result


def only_stream(request: Subscribe | SnapshotRequest | Unsubscribe) -> str | None:
    """The one stream a request asks for by ``stream_type``, or ``None`` if it is not just one.

    A ``subscribe`` by symbols without a stream type means ``price``.
    """
    streams = _streams(request)
    if streams is None:
        by_symbol = request.topics is UNSET and not isinstance(request, Unsubscribe)
        return "price" if by_symbol else None
    known = {stream_named(stream) for stream in streams}
    return known.pop() if len(known) == 1 else None


def _streams(request: Subscribe | SnapshotRequest | Unsubscribe) -> list[str] | None:
    if request.stream_type is UNSET:
        return None
    if isinstance(request.stream_type, str):
        return [request.stream_type]
    return list(dict.fromkeys(request.stream_type))


def _symbols(request: Subscribe | SnapshotRequest | Unsubscribe) -> list[str]:
    if request.symbols is not UNSET:
        return request.symbols
    return [] if request.symbol is UNSET else [request.symbol]
