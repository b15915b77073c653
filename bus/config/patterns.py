"""Patterns of topics, in which tiers and tokens say what may be had: ``price.*``, ``*.BTC``.

A pattern is ``stream.SYMBOL`` or ``stream.SYMBOL@source``; ``*`` stands for a whole part only.
Without ``@`` it means the primary source of the symbol; after ``@``, ``*`` means every source,
and a symbol ``*`` without ``@`` means every symbol of every source.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bus.config.venues import CLIENT_STREAMS

ANY: Final = "*"
MAX_PATTERN_CHARS: Final = 160
PATTERNS: Final = (
    f"patterns are e.g. price.*, orderbook.BTC, *.BTC; streams are {', '.join(CLIENT_STREAMS)}"
)
"""What to tell whoever wrote none."""
_ALIASES: Final = {"trade": "trades", "book": "orderbook", "depth": "orderbook"}


class Pattern(NamedTuple):
    """Topics of which each part is this one, or any where it is ``*``."""

    stream: str
    symbol: str
    source: str

    def covers(self, other: Pattern) -> bool:
        """Whether everything that ``other`` means is meant by this one."""
        return (
            self.stream in (ANY, other.stream)
            and self.symbol in (ANY, other.symbol)
            and self.source in (ANY, other.source)
        )


def stream_named(text: str) -> str | None:
    """The stream of a client's word for it (any case, legacy aliases), or ``None``."""
    word = text.lower()
    word = _ALIASES.get(word, word)
    return word if word in CLIENT_STREAMS else None


def read_pattern(text: str) -> Pattern | None:
    """The pattern that ``text`` is, of at most ``MAX_PATTERN_CHARS``; ``None`` if it is none."""
    if len(text) > MAX_PATTERN_CHARS:
        return None
    stream_text, dot, rest = text.partition(".")
    symbol, at, source = rest.partition("@")
    stream = ANY if stream_text == ANY else stream_named(stream_text)
    if stream is None or not dot or not symbol or (at and not source):
        return None
    if ANY in symbol and symbol != ANY:
        return None
    if not at and symbol == ANY:
        source = ANY
    return Pattern(stream, symbol.upper(), source.lower())
