"""Which topics a client may have: patterns such as ``price.*``, ``orderbook.BTC``, ``*.BTC``.

A pattern is ``stream.SYMBOL`` or ``stream.SYMBOL@source``; ``*`` stands for a whole part only.
Without ``@`` it means the primary source of the symbol; after ``@``, ``*`` means every source,
and a symbol ``*`` without ``@`` means every symbol of every source. What is allowed as a full book
is allowed as deltas. A wildcard subscription is allowed if a pattern covers all that it can match.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bus.wsbridge.topics import stream_named

MAX_PATTERN_CHARS = 160
ANY = "*"


@dataclass(frozen=True, slots=True)
class _Pattern:
    stream: str
    symbol: str
    source: str

    def covers(self, stream: str, symbol: str, source: str) -> bool:
        return (
            self.stream in (ANY, stream)
            and self.symbol in (ANY, symbol)
            and (self.source in (ANY, source))
        )


class Entitlement:
    """The patterns of one token or tier. What cannot be read as a pattern allows nothing."""

    __slots__ = ("_patterns", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        read = (_read(text) for text in self.texts)
        self._patterns = tuple(pattern for pattern in read if pattern is not None)

    def allows(self, *names: str) -> bool:
        """Whether a topic may be had that goes by any of these names (``price.BTC@sim``).

        A topic has several names when its symbol has an alias; they all mean the same data.
        """
        return any(self._allows(name) for name in names)

    def _allows(self, name: str) -> bool:
        wanted = _read(name.partition("#")[0])
        if wanted is None:
            return False
        # A wanted `price.*` reaches every source, so its source part is `*` too: only a pattern
        # that covers every source covers it.
        return any(p.covers(wanted.stream, wanted.symbol, wanted.source) for p in self._patterns)


def _read(text: str) -> _Pattern | None:
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
    return _Pattern(stream, symbol.upper(), source.lower())


EVERYTHING = Entitlement(("*.*",))
