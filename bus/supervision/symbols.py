"""Symbols of a running feed that change: what that does to the settings in force. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from bus.config import Settings

ADD: Final = "add_symbols"
REMOVE: Final = "remove_symbols"
MOST_SYMBOLS: Final = 10_000


def published_elsewhere(
    settings: Settings, feed: str, symbols: Iterable[str]
) -> list[dict[str, str]]:
    """Those of ``symbols`` that another enabled feed publishes under the same venue label, each as
    ``{"symbol", "reason", "nearest"}``: two feeds on one topic could not be told apart.
    """
    label = settings.venue_label(feed)
    others = {
        symbol: name
        for name, other in settings.feeds.items()
        if name != feed and other.enabled and settings.venue_label(name) == label
        for symbol in other.symbols
    }
    return [
        {
            "symbol": symbol,
            "reason": f"the feed {others[symbol.upper()]} publishes {label}/{symbol.upper()}",
            "nearest": "",
        }
        for symbol in symbols
        if symbol.upper() in others
    ]


def with_symbols(settings: Settings, feed: str, symbols: Sequence[str]) -> Settings:
    """The settings with ``symbols`` as those of ``feed``."""
    changed = dataclasses.replace(settings.feeds[feed], symbols=tuple(symbols))
    return dataclasses.replace(settings, feeds={**settings.feeds, feed: changed})


def reported_symbols(result: dict[str, Any]) -> tuple[str, ...] | None:
    """The symbols a feed says it has now; None when it did not say so understandably."""
    symbols = result.get("symbols")
    if not isinstance(symbols, list) or len(symbols) > MOST_SYMBOLS:
        return None
    if not all(isinstance(symbol, str) and symbol for symbol in symbols):
        return None
    return tuple(dict.fromkeys(symbols))


def lines_to_keep(feed: str, symbols: Sequence[str]) -> str:
    """What the operator's own file must say for the symbols to be there after the next `up`."""
    return f"[feeds.{feed}]\nsymbols = {json.dumps(list(symbols), ensure_ascii=False)}"
