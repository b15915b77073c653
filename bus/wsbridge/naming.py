"""Which topics a request names: by ``topics``, or by ``symbols`` and ``stream_type``.

Pure. Nothing here refuses: a name that means nothing is an
:class:`~bus.wsbridge.topics.Unknown` in its place, to be rejected by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET
from msgspec.structs import replace

from bus.config.patterns import stream_named
from bus.wsbridge.messages import SnapshotRequest, Subscribe, Unsubscribe
from bus.wsbridge.topics import DELTA, Directory, MarketTopic, Unknown, is_pattern

Named = Subscribe | SnapshotRequest | Unsubscribe

Found = tuple[str, MarketTopic | Unknown]


def split_patterns(request: Named) -> tuple[Named, list[str]]:
    """A request without its wildcards, and the wildcards as patterns such as ``price.*``."""
    patterns: dict[str, None] = {}
    if request.topics is not UNSET:
        plain = [name for name in request.topics if not is_pattern(name)]
        patterns |= dict.fromkeys(name for name in request.topics if is_pattern(name))
        return replace(request, topics=plain), [pattern_of(one) for one in patterns]
    streams = _streams(request)
    symbols = _symbols(request)
    by_stream = [stream for stream in streams or () if is_pattern(stream)]
    plain_symbols = [symbol for symbol in symbols if not is_pattern(symbol)]
    words = streams if streams is not None else ["price"]
    for symbol in symbols:
        for stream in words:
            if is_pattern(symbol) or is_pattern(stream):
                patterns[f"{stream}.{symbol}"] = None
    changes: dict[str, object] = {"symbols": plain_symbols, "symbol": UNSET}
    if by_stream:
        changes["stream_type"] = [s for s in streams or () if not is_pattern(s)]
        if not changes["stream_type"]:
            changes["symbols"] = []
    return replace(request, **changes), [pattern_of(one) for one in patterns]


def pattern_of(text: str) -> str:
    """A pattern in the one spelling by which it is held."""
    text, mark = text.removesuffix(DELTA), DELTA if text.endswith(DELTA) else ""
    stream, _, rest = text.partition(".")
    known = stream_named(stream)
    symbol, at, source = rest.partition("@")
    if known == "news":
        return f"news.{symbol.lower()}{mark}"
    shown_symbol = symbol.upper()
    return f"{known or stream}.{shown_symbol}{at}{source.lower()}{mark}"


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
    by_name: dict[str, MarketTopic] = {}
    by_word: dict[str, list[MarketTopic]] = {}
    for topic in held:
        by_name[topic.name] = topic
        if topic.stream == "news":
            words = {f"news.{topic.symbol}"}
        else:
            words = {topic.symbol, topic.name.partition(".")[2]}
        for word in words:
            by_word.setdefault(word, []).append(topic)
    if request.topics is not UNSET:
        found = [(name, directory.resolve_topic(name)) for name in request.topics]
        return [
            (
                name,
                []
                if isinstance(topic, Unknown) or topic.name not in by_name
                else [by_name[topic.name]],
            )
            for name, topic in found
        ]
    streams = _streams(request)
    wanted = None if streams is None else {stream_named(stream) for stream in streams}
    result: list[tuple[str, list[MarketTopic]]] = []
    for symbol in _symbols(request):
        known = directory.resolve("price", symbol)
        meant = list(by_word.get(f"news.{symbol.lower()}", ()))
        if not isinstance(known, Unknown):
            word = known.name.partition(".")[2] if "@" in symbol else known.symbol
            meant += by_word.get(word, ())
        result.append((symbol, [t for t in meant if wanted is None or t.stream in wanted]))
    return result


def only_stream(request: Named) -> str | None:
    """The one stream a request asks for by ``stream_type``, or ``None`` if it is not just one.

    A ``subscribe`` by symbols without a stream type means ``price``.
    """
    streams = _streams(request)
    if streams is None:
        by_symbol = request.topics is UNSET and not isinstance(request, Unsubscribe)
        return "price" if by_symbol else None
    known = {stream_named(stream) for stream in streams}
    return known.pop() if len(known) == 1 else None


def _streams(request: Named) -> list[str] | None:
    if request.stream_type is UNSET:
        return None
    if isinstance(request.stream_type, str):
        return [request.stream_type]
    return list(dict.fromkeys(request.stream_type))


def _symbols(request: Named) -> list[str]:
    if request.symbols is not UNSET:
        return request.symbols
    return [] if request.symbol is UNSET else [request.symbol]
