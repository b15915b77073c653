"""The arguments of verbs that have actions of their own: ``feed`` and ``token``."""

from __future__ import annotations

import argparse
from typing import Any

from bus.supervision.argument_forms import (
    Help,
    add_json,
    add_location,
    add_settings,
    examples_of,
    seconds,
)


def add_feed(verbs: Any) -> None:
    """``feed add|remove|list``."""
    feed = verbs.add_parser(
        "feed",
        help="show or change the symbols of a running feed",
        description="Show or change the symbols of a running feed, without a restart.",
        epilog=examples_of(
            "feed list",
            "feed add binance XRP-USDT ADA-USDT",
            "feed remove binance XRP-USDT",
        ),
        formatter_class=Help,
    )
    add_location(feed)
    what = feed.add_subparsers(dest="what", metavar="ACTION", required=True)
    for name, text, example in (
        ("add", "have the feed take up symbols", "add binance XRP-USDT"),
        ("remove", "have the feed give up symbols", "remove binance XRP-USDT"),
        ("list", "the symbols of one feed, or of all", "list binance"),
    ):
        action = what.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples_of(example),
            formatter_class=Help,
        )
        add_location(action, default=argparse.SUPPRESS)  # else it undoes `feed --config FILE add`
        optional = {"nargs": "?"} if name == "list" else {}
        action.add_argument("feed", metavar="FEED", help="e.g. binance", **optional)
        if name != "list":
            action.add_argument("symbols", nargs="+", metavar="SYMBOL", help="e.g. XRP-USDT")
        action.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="seconds")
        add_json(action)


def add_token(verbs: Any) -> None:
    """``token key|new``."""
    token = verbs.add_parser(
        "token",
        help="tokens for WebSocket clients, and keys",
        description="Make a token with a key of the settings, or a new key.",
        epilog=examples_of(
            "token key jwt.key                      a new secret, for bridge.access.keys",
            "token new --sub alice --tier pro --ttl 8h",
            'token new --sub page --topics "price.*,trades.BTC" --ticket',
        ),
        formatter_class=Help,
    )
    add_location(token)
    what = token.add_subparsers(dest="what", metavar="ACTION", required=True)
    key = what.add_parser(
        "key",
        help="write a new secret key into a file of your own",
        epilog=examples_of("key /etc/mdbus/jwt.key"),
        formatter_class=Help,
    )
    key.add_argument("file", metavar="FILE")
    new = what.add_parser(
        "new",
        help="make a token",
        epilog=examples_of(
            "new --sub alice --tier pro --ttl 8h",
            "new --sub page --topics 'price.*' --ticket",
        ),
        formatter_class=Help,
    )
    add_location(new, default=argparse.SUPPRESS)
    new.add_argument("--sub", required=True, metavar="USER", help="who it is for")
    new.add_argument("--tier", metavar="NAME", help="his limits (the default tier)")
    new.add_argument("--ttl", type=_ttl, metavar="TIME", help="90s, 15m, 8h, 30d (1h)")
    new.add_argument("--topics", metavar="LIST", help="comma-separated; else those of the tier")
    new.add_argument("--ticket", action="store_true", help="for a URL: good once, for a minute")
    new.add_argument("--kid", metavar="ID", help="the key to sign with (the last one)")
    add_settings(new)
    add_json(new)


def _ttl(text: str) -> int:
    from bus.supervision.token_verb import seconds_of

    return seconds_of(text)
