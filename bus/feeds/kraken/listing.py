"""The pairs Kraken lists, as any of the feed's connections was told last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bus.feeds.listing import Listed


class Pairs:
    """``known`` is set once a connection has been told the whole list. Bounded by the venue's."""

    def __init__(self) -> None:
        self.known = asyncio.Event()
        self.listed: dict[str, Listed] = {}

    def take(self, listed: Mapping[str, Listed]) -> None:
        """The whole list."""
        self.listed = dict(listed)
        self.known.set()

    def update(self, listed: Mapping[str, Listed]) -> None:
        """Some pairs have changed."""
        self.listed.update(listed)
