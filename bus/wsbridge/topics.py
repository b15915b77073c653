"""The names clients use for topics, and which bus topic each one is.

``price.BTC`` is the primary instrument of the alias ``BTC``; ``price.BTC@sim`` names a source;
``news.crypto`` is a news category. :class:`Directory` is built once from the settings and answers
every name with a :class:`MarketTopic` or an :class:`Unknown`; it never raises for a client's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bus.config import Settings
from bus.config.patterns import stream_named
from bus.config.venues import CLIENT_STREAMS, streams_of
from bus.model import STREAMS, StreamKind
from bus.model.topic import Topic

STATE_STREAMS = frozenset(n for n in CLIENT_STREAMS if STREAMS[n].kind is StreamKind.STATE)
"""A newer message replaces an older one. The rest is lossless: every message counts."""

_SYMBOL = re.compile(r"[A-Za-z0-9._\-:/^=$]{1,64}")
_CATEGORY = re.compile(r"[a-z0-9_-]{1,32}")
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_SHOWN_CHARS = 80
DELTA = "#delta"
"""Ends the name of the changes of an order book."""

_ANY = "*"
_NO_DELTA = "only an orderbook has a #delta form"


@dataclass(frozen=True, slots=True)
class MarketTopic:
    """One topic as clients name it, and where it comes from.

    ``symbol`` is the display symbol (for news: the category), ``source`` the venue label,
    ``feed_symbol`` the instrument in the feed's own status topics (empty for news);
    ``is_delta``: the changes of an order book, ``orderbook.X#delta``.
    """

    name: str
    stream: str
    symbol: str
    source: str
    feed: str
    feed_symbol: str
    bus_key: bytes
    is_delta: bool = False

    @property
    def is_state(self) -> bool:
        """Whether a newer message replaces an older one."""
        return self.stream in STATE_STREAMS and not self.is_delta

    @property
    def is_lossless(self) -> bool:
        """Whether every message is told one by one, and past ones are kept: trades, news."""
        return self.stream not in STATE_STREAMS


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that no configured feed serves: an error code and a sentence for people."""

    requested: str
    code: str
    message: str
    topic: str = ""


def shown(text: str) -> str:
    """A client's text, short enough and free of control characters, for an error message."""
    clean = "".join(c if c.isprintable() else "�" for c in text[:_SHOWN_CHARS])
    return clean + ("…" if len(text) > _SHOWN_CHARS else "")


def _no_stream(text: str) -> str:
    return f"there is no stream {shown(text)}; streams are {', '.join(CLIENT_STREAMS)}"


def is_pattern(text: str) -> bool:
    """Whether a client's text is a wildcard."""
    return _ANY in text


@dataclass(frozen=True, slots=True)
class _Instrument:
    display: str
    feed: str
    venue: str
    symbol: str
    streams: tuple[str, ...]


class Directory:
    """Every name a client may use, resolved against the configured feeds.

    ``symbols`` are the display symbols of all instruments, ``categories`` the news categories,
    ``feeds`` the names of the enabled feeds, each in the order of the settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Know the names of ``settings`` from here on; topics held by clients stay as they are."""
        self.feeds = tuple(name for name, feed in settings.feeds.items() if feed.enabled)
        instruments: dict[tuple[str, str], _Instrument] = {}
        displays = _display_names(settings.aliases)
        for name in self.feeds:
            for symbol in settings.feeds[name].symbols:
                display = displays.get((name, symbol), symbol.upper())
                venue = settings.venue_label(name)
                streams = streams_of(settings.venue_of(name))
                instruments[name, symbol] = _Instrument(display, name, venue, symbol, streams)
        self._by_name: dict[str, _Instrument] = {}
        for alias, target in settings.aliases.items():
            symbol, _, feed = target.partition("@")
            if (found := instruments.get((feed, symbol))) is not None:
                self._by_name[alias.upper()] = found
        for found in instruments.values():
            self._by_name.setdefault(found.symbol.upper(), found)
        self._at_venue: dict[tuple[str, str], _Instrument] = {}
        for found in instruments.values():
            self._at_venue.setdefault((found.venue, found.symbol.upper()), found)
        self._all = tuple(instruments.values())
        self._categories: dict[str, tuple[str, str]] = {}
        for name in self.feeds:
            for category in settings.feeds[name].news_categories:
                self._categories.setdefault(category, (name, settings.venue_label(name)))
        self.symbols = tuple(dict.fromkeys(i.display for i in instruments.values()))
        self.categories = tuple(self._categories)
        self.topic_count_of = {
            name: sum(len(i.streams) for i in instruments.values() if i.feed == name)
            + sum(1 for feed, _ in self._categories.values() if feed == name)
            for name in self.feeds
        }

    def resolve(self, stream_text: str, symbol_text: str) -> MarketTopic | Unknown:
        """Find ``stream_text`` of ``symbol_text`` (which may end in ``@source``)."""
        stream = stream_named(stream_text)
        if stream is None:
            return Unknown(
                symbol_text,
                "stream_unknown",
                _no_stream(stream_text),
                f"{shown(stream_text)}.{shown(symbol_text)}",
            )
        if stream == "news":
            return self._news(symbol_text)
        return self._market(stream, symbol_text)

    def resolve_topic(self, text: str) -> MarketTopic | Unknown:
        """Find a whole topic name such as ``price.BTC`` or ``trades.BTC@sim``.

        Split at the first dot: ``price.BRK.B`` is the symbol ``BRK.B``.
        """
        stream, dot, symbol = text.partition(".")
        if dot and symbol and is_pattern(text):
            return Unknown(text, "symbol_unknown", f"nothing matches {shown(text)}", shown(text))
        if not dot or not symbol:
            return Unknown(
                text,
                "stream_unknown",
                f"{shown(text)} is not of the form stream.SYMBOL",
                shown(text),
            )
        found = self.resolve(stream, symbol)
        if isinstance(found, Unknown):
            return Unknown(text, found.code, found.message, found.topic)
        return found

    def _market(self, stream: str, text: str) -> MarketTopic | Unknown:
        text, is_delta = text.removesuffix(DELTA), text.endswith(DELTA)
        symbol, at, source = text.partition("@")
        topic = f"{stream}.{shown(text)}"
        if is_delta and stream != "orderbook":
            return Unknown(text, "stream_unknown", _NO_DELTA, topic)
        if not _SYMBOL.fullmatch(symbol) or (at and not _SOURCE.fullmatch(source.lower())):
            return Unknown(text, "symbol_unknown", f"{shown(text)} is not a symbol", topic)
        found = self._instrument(symbol)
        if at:
            source = source.lower()
            wanted = found.symbol if found is not None else symbol
            found = self._at_venue.get((source, wanted.upper()))
            if found is None:
                sentence = f"no configured feed serves {shown(symbol.upper())} from {source}"
                return Unknown(text, "symbol_unknown", sentence, topic)
        if found is None:
            sentence = f"no configured feed serves {shown(symbol.upper())}"
            return Unknown(text, "symbol_unknown", sentence, f"{stream}.{shown(text.upper())}")
        if stream not in found.streams:
            sentence = f"{found.feed} has no {stream} of {found.display}"
            return Unknown(text, "stream_unknown", sentence, f"{stream}.{found.display}")
        return self._topic(stream, found, f"@{source}" if at else "", is_delta=is_delta)

    def _topic(
        self, stream: str, found: _Instrument, suffix: str, *, is_delta: bool
    ) -> MarketTopic:
        bus_stream = "depth" if is_delta else stream
        return MarketTopic(
            name=f"{stream}.{found.display}{suffix}{DELTA if is_delta else ''}",
            stream=stream,
            symbol=found.display,
            source=found.venue,
            feed=found.feed,
            feed_symbol=found.symbol,
            bus_key=Topic.md(bus_stream, found.venue, found.symbol).key,
            is_delta=is_delta,
        )

    def as_delta(self, topic: MarketTopic) -> MarketTopic:
        """The changes of an order book for the book itself; any other topic as it is."""
        if topic.stream != "orderbook" or topic.is_delta:
            return topic
        venue, symbol = topic.bus_key.decode().split("/")[2:4]
        key = Topic.md("depth", venue, symbol).key
        return replace(topic, name=topic.name + DELTA, bus_key=key, is_delta=True)

    def matching(self, pattern: str) -> list[MarketTopic] | Unknown:
        """Every topic of a pattern such as ``price.*``, ``*.BTC``, ``*.*`` or ``trades.*@sim``.

        A token is ``*`` or a name. By symbol it is the primary source of each display symbol,
        with ``@source`` every instrument of that source. News categories count as symbols of the
        stream ``news``.
        """
        text, is_delta = pattern.removesuffix(DELTA), pattern.endswith(DELTA)
        stream_text, _, rest = text.partition(".")
        symbol, at, source = rest.partition("@")
        wrong = Unknown(
            pattern,
            "symbol_unknown",
            f"in {shown(pattern)} a * must stand for a whole token",
            shown(pattern),
        )
        if (_ANY in stream_text and stream_text != _ANY) or (_ANY in symbol and symbol != _ANY):
            return wrong
        if _ANY in source or not symbol:
            return wrong
        if is_delta and stream_text != _ANY and stream_named(stream_text) != "orderbook":
            return Unknown(pattern, "stream_unknown", _NO_DELTA, shown(pattern))
        named = CLIENT_STREAMS if stream_text == _ANY else (stream_named(stream_text),)
        found: dict[str, MarketTopic] = {}
        for stream in named:
            if stream is None:
                return Unknown(
                    pattern,
                    "stream_unknown",
                    _no_stream(stream_text),
                    shown(pattern),
                )
            for topic in self._matching_in(stream, symbol, source.lower() if at else None):
                if is_delta and stream != "orderbook":
                    continue
                topic = self.as_delta(topic) if is_delta else topic
                found[topic.name] = topic
        return list(found.values())

    def _matching_in(self, stream: str, symbol: str, source: str | None) -> list[MarketTopic]:
        if stream == "news":
            words = list(self._categories) if symbol == _ANY else [symbol]
            resolved = [] if source is not None else [self._news(word) for word in words]
        elif symbol != _ANY:
            resolved = [self._market(stream, symbol if source is None else f"{symbol}@{source}")]
        elif source is None:
            resolved = [self._market(stream, display) for display in self.symbols]
        else:
            resolved = [
                self._topic(stream, one, f"@{source}", is_delta=False)
                for one in self._all
                if one.venue == source and stream in one.streams
            ]
        return [topic for topic in resolved if isinstance(topic, MarketTopic)]

    def _instrument(self, symbol: str) -> _Instrument | None:
        name = symbol.upper()
        return self._by_name.get(name) or self._by_name.get(name.replace("/", "-"))

    def _news(self, text: str) -> MarketTopic | Unknown:
        category = text.lower()
        at = self._categories.get(category) if _CATEGORY.fullmatch(category) else None
        if at is None:
            known = ", ".join(self.categories) or "none"
            return Unknown(
                text,
                "category_unknown",
                f"there is no news category {shown(text)}; categories are {known}",
                f"news.{shown(text)}",
            )
        feed, venue = at
        return MarketTopic(
            name=f"news.{category}",
            stream="news",
            symbol=category,
            source=venue,
            feed=feed,
            feed_symbol="",
            bus_key=Topic.md("news", venue, category).key,
        )


def _display_names(aliases: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """The display symbol of each (feed, symbol): the first alias that the settings give it."""
    displays: dict[tuple[str, str], str] = {}
    for alias, target in aliases.items():
        symbol, _, feed = target.partition("@")
        displays.setdefault((feed, symbol), alias.upper())
    return displays
