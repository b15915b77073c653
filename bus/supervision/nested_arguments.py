"""The arguments of verbs that have actions of their own: ``feed`` and ``token``."""

from __future__ import annotations

import argparse
from typing import Any

from bus.supervision.argument_forms import (
    add_json,
    add_location,
    add_settings,
    parser_of,
    seconds,
)


class _Actions:
    """A verb whose first word is an action; where the bus is may stand before that or after it."""

    def __init__(self, verbs: Any, name: str, text: str, description: str, *examples: str) -> None:
        parser = parser_of(verbs, name, text, description, *examples)
        add_location(parser)
        self._actions = parser.add_subparsers(dest="what", metavar="ACTION", required=True)

    def add(self, name: str, text: str, *examples: str) -> argparse.ArgumentParser:
        """One more action."""
        action = parser_of(self._actions, name, text, text, *examples)
        add_location(action, default=argparse.SUPPRESS)  # else it undoes `feed --config FILE add`
        return action


def add_feed(verbs: Any) -> None:
    """``feed add|remove|list``."""
    actions = _Actions(
        verbs,
        "feed",
        "show or change the symbols of a running feed",
        "Show or change the symbols of a running feed, without a restart.",
        "feed list",
        "feed add binance XRP-USDT ADA-USDT",
        "feed remove binance XRP-USDT",
    )
    for name, text, example in (
        ("add", "have the feed take up symbols", "add binance XRP-USDT"),
        ("remove", "have the feed give up symbols", "remove binance XRP-USDT"),
        ("list", "the symbols of one feed, or of all", "list binance"),
    ):
        action = actions.add(name, text, example)
        optional: dict[str, Any] = {"nargs": "?"} if name == "list" else {}
        action.add_argument("feed", metavar="FEED", help="e.g. binance", **optional)
        if name != "list":
            action.add_argument("symbols", nargs="+", metavar="SYMBOL", help="e.g. XRP-USDT")
        action.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="seconds")
        add_json(action)


def add_token(verbs: Any) -> None:
    """``token key|new``."""
    actions = _Actions(
        verbs,
        "token",
        "tokens for WebSocket clients, and keys",
        "Make a token with a key of the settings, or a new key.",
        "token key jwt.key                      a new secret, for bridge.access.keys",
        "token new --sub alice --tier pro --ttl 8h",
        'token new --sub page --topics "price.*,trades.BTC" --ticket',
    )
    key = actions.add(
        "key", "write a new secret key into a file of your own", "key /etc/mdbus/jwt.key"
    )
    key.add_argument("file", metavar="FILE")
    new = actions.add(
        "new",
        "make a token",
        "new --sub alice --tier pro --ttl 8h",
        "new --sub page --topics 'price.*' --ticket",
    )
    new.add_argument("--sub", required=True, metavar="USER", help="who it is for")
    new.add_argument("--tier", metavar="NAME", help="his limits (the default tier)")
    new.add_argument("--ttl", type=_ttl, metavar="TIME", help="90s, 15m, 8h, 30d (1h)")
    new.add_argument(
        "--topics", type=_patterns, metavar="LIST", help="comma-separated; else those of the tier"
    )
    new.add_argument("--ticket", action="store_true", help="for a URL: good once, for a minute")
    new.add_argument("--kid", metavar="ID", help="the key to sign with (the last one)")
    add_settings(new)
    add_json(new)


def _patterns(text: str) -> list[str]:
    from bus.supervision.token_verb import patterns_of

    return patterns_of(text)


def _ttl(text: str) -> int:
    from bus.supervision.token_verb import seconds_of

    return seconds_of(text)
