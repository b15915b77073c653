"""The command line, ``mdbus``: reads the arguments and hands them to the verb's own module.

Only what a verb needs is imported, when it is needed: ``mdbus status`` is run by probes and
prompts and must answer in some tens of milliseconds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bus.supervision import exit_codes

_EXAMPLES: Final = """\
examples:
  {prog} up                          run everything here, until Ctrl-C
  {prog} up --detach                 run everything in the background
  {prog} up --live --binance         real Binance data instead of the simulated market
  {prog} status                      what runs, how long, how much it takes
  {prog} tail md/trades/             print every trade as it comes
  {prog} get md/price/sim/BTC-USDT/  the last price
  {prog} restart feed.binance        replace one process
  {prog} feed add binance XRP-USDT   one more symbol, while it runs
  {prog} reload --dry-run            what the edited settings file would change
  {prog} token new --sub alice       a token for a WebSocket client
  {prog} down                        stop everything

exit codes: 0 ok, 1 not healthy or failed, 2 usage or settings, 3 no such process,
            4 no supervisor running, 5 timeout
"""

_VERBS: Final = {
    "up": "up",
    "down": "operator_verbs",
    "status": "operator_verbs",
    "start": "operator_verbs",
    "stop": "operator_verbs",
    "restart": "operator_verbs",
    "check": "operator_verbs",
    "logs": "log_verb",
    "config": "config_verb",
    "tail": "data_verbs",
    "get": "data_verbs",
    "topics": "data_verbs",
    "feed": "feed_verbs",
    "reload": "reload_verb",
    "replay": "replay_verb",
    "token": "token_verb",
}
"""The module of each verb; its function is named ``run_<verb>(arguments) -> exit code``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Never raises, and shows no traceback to a user."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in _VERBS:
        parser.error(_no_such_verb(words[0]))
    arguments = parser.parse_args(words)
    if arguments.verb is None:
        parser.print_help()
        return exit_codes.USAGE
    verb = importlib.import_module(f"bus.supervision.{_VERBS[arguments.verb]}")
    try:
        code: int = getattr(verb, f"run_{arguments.verb}")(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `mdbus tail … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        return explained


def _no_such_verb(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, _VERBS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(_VERBS)}"
    return f"there is no verb {word!r}; {hint}"


def _explained(error: Exception) -> int | None:
    """Print an error that explains itself, one line a problem; None for a bug."""
    from bus.errors import ConfigError, MdbusError
    from bus.supervision.control_client import RefusedError

    if isinstance(error, ConfigError):
        for problem in error.problems:
            sys.stderr.write(f"mdbus: {problem}\n")
        return exit_codes.USAGE
    if isinstance(error, RefusedError):
        for line in str(error).splitlines() or [""]:
            sys.stderr.write(f"mdbus: {line}\n")
        return error.exit_code
    if isinstance(error, MdbusError) or (isinstance(error, OSError) and error.errno):
        sys.stderr.write(f"mdbus: {error}\n")
        return exit_codes.FAILED
    return None


def program_name() -> str:
    """What the user types, in this directory, to run this program."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m bus.supervision"
    if path.suffix == ".py":
        return f"python {path.name}"
    found = shutil.which(path.name)
    if found is None or not path.exists() or Path(found).resolve() != path.resolve():
        # Not on the PATH (a virtual environment that is not activated): the short name would fail.
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return path.name


def _parser() -> argparse.ArgumentParser:
    prog = program_name()
    parser = argparse.ArgumentParser(
        prog=prog,
        description="mdbus: a market-data bus. Starts it, watches it, and reads what is on it.",
        epilog=_EXAMPLES.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    _add_life(verbs)
    _add_questions(verbs)
    _add_data(verbs)
    return parser


def _add_life(verbs: Any) -> None:
    up = _verb(verbs, "up", "start everything, in order, and keep it running")
    _up_arguments(up)
    up.add_argument("--live", action="store_true", help="real venues, not the simulated market")
    up.add_argument("--events-fd", type=int, help=argparse.SUPPRESS)

    replay = _verb(
        verbs,
        "replay",
        "run everything on recorded traffic",
        "replay btcusdt.gz                     as it was recorded",
        "replay monday.gz tuesday.gz --speed 20 --detach",
        "replay btcusdt.gz --speed max --binance",
    )
    replay.add_argument("files", nargs="+", metavar="FILE", help="recordings, played in order")
    replay.add_argument(
        "--speed", default="1", metavar="1|N|max", help="a factor, or max for flat out (1)"
    )
    _up_arguments(replay)
    replay.set_defaults(live=False, events_fd=None)

    down = _verb(verbs, "down", "stop everything, in reverse order")
    down.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait")
    _json(down)
    for name, text in (
        ("start", "start processes that were stopped or given up"),
        ("stop", "stop processes and keep them stopped"),
        ("restart", "replace processes"),
    ):
        verb = _verb(verbs, name, text)
        verb.add_argument("names", nargs="+", metavar="NAME", help="e.g. feed.binance")
        verb.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds")
        _json(verb)
        if name == "restart":
            verb.add_argument(
                "--rotate",
                action="store_true",
                help="feeds: keep the process, replace its venue connections, new before old",
            )

    reload = _verb(
        verbs,
        "reload",
        "read the settings file again and apply what changed",
        "reload --dry-run     what would change, and which processes would be touched",
        "reload               do it; wrong settings change nothing and are all listed",
    )
    reload.add_argument("--dry-run", action="store_true", help="show it, do nothing")
    reload.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="for each step")
    _json(reload)

    _add_feed(verbs)

    _add_token(verbs)

    config = _verb(verbs, "config", "write, check or show the settings")
    config.add_argument("what", choices=("init", "check", "show"))
    config.add_argument("--force", action="store_true", help="init: replace an existing file")
    config.add_argument("--set", **_SET)


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background")
    _settings_arguments(parser)
    parser.add_argument("--binance", action="store_true", help="this feed (and others named) only")
    parser.add_argument("--finnhub", action="store_true", help="this feed (and others named) only")
    parser.add_argument("--workers", type=int, metavar="N", help="WebSocket bridge processes")


def _add_feed(verbs: Any) -> None:
    feed = verbs.add_parser(
        "feed",
        help="show or change the symbols of a running feed",
        description="Show or change the symbols of a running feed, without a restart.",
        epilog=_examples(
            "feed list",
            "feed add binance XRP-USDT ADA-USDT",
            "feed remove binance XRP-USDT",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _location(feed)
    what = feed.add_subparsers(dest="what", metavar="ACTION", required=True)
    for name, text in (
        ("add", "have the feed take up symbols"),
        ("remove", "have the feed give up symbols"),
        ("list", "the symbols of one feed, or of all"),
    ):
        action = what.add_parser(name, help=text, description=text)
        _location(action, default=argparse.SUPPRESS)  # else it undoes `feed --config FILE add`
        optional = {"nargs": "?"} if name == "list" else {}
        action.add_argument("feed", metavar="FEED", help="e.g. binance", **optional)
        if name != "list":
            action.add_argument("symbols", nargs="+", metavar="SYMBOL", help="e.g. XRP-USDT")
        action.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds")
        _json(action)


def _add_token(verbs: Any) -> None:
    token = verbs.add_parser(
        "token",
        help="tokens for WebSocket clients, and keys",
        description="Make a token with a key of the settings, or a new key.",
        epilog=_examples(
            "token key jwt.key                      a new secret, for bridge.access.keys",
            "token new --sub alice --tier pro --ttl 8h",
            'token new --sub page --topics "price.*,trades.BTC" --ticket',
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _location(token)
    what = token.add_subparsers(dest="what", metavar="ACTION", required=True)
    key = what.add_parser("key", help="write a new secret key into a file of your own")
    key.add_argument("file", metavar="FILE")
    new = what.add_parser("new", help="make a token")
    _location(new, default=argparse.SUPPRESS)
    new.add_argument("--sub", required=True, metavar="USER", help="who it is for")
    new.add_argument("--tier", metavar="NAME", help="his limits (the default tier)")
    new.add_argument("--ttl", type=_ttl, metavar="TIME", help="90s, 15m, 8h, 30d (1h)")
    new.add_argument("--topics", metavar="LIST", help="comma-separated; else those of the tier")
    new.add_argument("--ticket", action="store_true", help="for a URL: good once, for a minute")
    new.add_argument("--kid", metavar="ID", help="the key to sign with (the last one)")
    _settings_arguments(new)
    _json(new)


def _ttl(text: str) -> int:
    from bus.supervision.token_verb import seconds_of

    return seconds_of(text)


def _add_questions(verbs: Any) -> None:
    status = _verb(verbs, "status", "what runs, how long, how much it takes")
    _json(status)
    check = _verb(verbs, "check", "exit 0 when healthy, 1 when not (for probes)")
    check.add_argument("names", nargs="*", metavar="NAME", help="only these processes")
    _json(check)
    logs = _verb(verbs, "logs", "show the logs of one process or of all")
    logs.add_argument("name", nargs="?", metavar="NAME", help="e.g. feed.binance, supervisor")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines are written")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="last N lines (50)")


def _add_data(verbs: Any) -> None:
    tail = _verb(verbs, "tail", "print ticks as they come")
    tail.add_argument("prefix", metavar="PREFIX", help="e.g. md/trades/ or md/price/sim/")
    tail.add_argument("-c", "--count", type=int, metavar="N", help="stop after N ticks")
    tail.add_argument("--timeout", type=float, metavar="S", help="give up after S seconds")
    tail.add_argument("--no-snapshot", action="store_true", help="live ticks only")
    tail.add_argument("--history", action="store_true", help="cached trades, news, deltas too")
    _json(tail)
    get = _verb(verbs, "get", "the last value of one topic, from the cache")
    get.add_argument("topic", metavar="TOPIC", help="e.g. md/price/sim/BTC-USDT/")
    get.add_argument("--timeout", type=float, default=3.0, metavar="S", help="seconds to wait (3)")
    _json(get)
    topics = _verb(verbs, "topics", "every topic in the cache")
    topics.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="e.g. md/price/")
    topics.add_argument("--timeout", type=float, default=3.0, metavar="S", help="seconds to wait")
    _json(topics)


_SET: Final[dict[str, Any]] = {
    "action": "append",
    "default": [],
    "dest": "overrides",
    "metavar": "KEY=VALUE",
    "help": "one setting, over the file; may be repeated",
}


def _verb(verbs: Any, name: str, text: str, *examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog=_examples(*examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _location(parser)
    return parser


def _examples(*examples: str) -> str | None:
    prog = program_name()
    return (
        "\n".join(["examples:", *(f"  {prog} {line}" for line in examples)]) if examples else None
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def _location(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="settings file (default: ./mdbus.toml when it exists)",
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        default=default,
        help="run directory (default: that of the settings)",
    )


def _settings_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", **_SET)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _version() -> str:
    from bus import __version__

    return f"mdbus {__version__}"
