"""Which topics a client may have, by the patterns of his token or tier.

What is allowed as a full book is allowed as deltas. A wildcard subscription is allowed if a pattern
covers all that it can match.
"""

from __future__ import annotations

from collections.abc import Iterable

from bus.config.patterns import read_pattern


class Entitlement:
    """The patterns of one token or tier. What cannot be read as a pattern allows nothing."""

    __slots__ = ("_patterns", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        read = (read_pattern(text) for text in self.texts)
        self._patterns = tuple(pattern for pattern in read if pattern is not None)

    def allows(self, *names: str) -> bool:
        """Whether a topic may be had that goes by any of these names (``price.BTC@sim``).

        A topic has several names when its symbol has an alias; they all mean the same data.
        """
        return any(self._allows(name) for name in names)

    def _allows(self, name: str) -> bool:
        wanted = read_pattern(name.partition("#")[0])
        if wanted is None:
            return False
        # A wanted `price.*` reaches every source, so its source part is `*` too: only a pattern
        # that covers every source covers it.
        return any(pattern.covers(wanted) for pattern in self._patterns)


EVERYTHING = Entitlement(("*.*",))
