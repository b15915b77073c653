"""The arguments of ``mdbus``: every verb with its options, its help and its examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from bus.supervision.argument_forms import (
    SET,
    Help,
    add_json,
    add_settings,
    add_verb,
    seconds,
)
from bus.supervision.nested_arguments import add_feed, add_token

_LEVELS: Final = ("debug", "info", "warning", "error")
_EXAMPLES: Final = """\
examples:
  {prog} up                          run everything here, until Ctrl-C
  {prog} up --detach                 run everything in the background
  {prog} up --live --binance         real Binance data instead of the simulated market
  {prog} status                      what runs, how long, how much it takes
  {prog} tail md/trades/             print every trade as it comes
  {prog} get md/price/sim/BTC-USDT/  the last price
  {prog} top                         what runs and what goes through, live
  {prog} events                      what happened, and why
  {prog} restart bridge              replace the bridges, without refusing a connection
  {prog} feed add binance XRP-USDT   one more symbol, while it runs
  {prog} token new --sub alice       a token for a WebSocket client
  {prog} reload --dry-run            what the edited settings file would change
  {prog} doctor                      what may be wrong with machine or settings
  {prog} down                        stop everything

exit codes: 0 ok, 1 not healthy or failed, 2 usage or settings, 3 no such process,
            4 no supervisor running, 5 timeout
"""


class _Skipped:
    """Stands for the parser of a verb that was not asked for: takes everything, keeps nothing."""

    def __getattr__(self, _: str) -> Callable[..., _Skipped]:
        return lambda *_, **__: self


class _Only:
    """Adds the parser of one verb: building all of them takes longer than `status` itself."""

    def __init__(self, verbs: Any, name: str) -> None:
        self._verbs = verbs
        self._name = name

    def add_parser(self, name: str, **options: Any) -> Any:
        return self._verbs.add_parser(name, **options) if name == self._name else _Skipped()


def make_parser(prog: str, only: str = "") -> argparse.ArgumentParser:
    """The parser of ``mdbus``, whose examples say ``prog`` for it; of one verb alone if named."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="mdbus: a market-data bus. Starts it, watches it, and reads what is on it.",
        epilog=_EXAMPLES.format(prog=prog),
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=_version())
    verbs: Any = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", prog=prog)
    if only:
        verbs = _Only(verbs, only)
    _add_life(verbs)
    _add_questions(verbs)
    _add_data(verbs)
    return parser


def _add_life(verbs: Any) -> None:
    up = add_verb(
        verbs,
        "up",
        "start everything, in order, and keep it running",
        "up                                   simulated market, here, until Ctrl-C",
        "up --detach --config mdbus.toml      in the background, with settings of your own",
        "up --live --binance --workers 4      real Binance data, four bridges",
        "up --set bridge.port=9000            one setting, over the file",
    )
    _up_arguments(up)
    up.add_argument("--live", action="store_true", help="real venues, not the simulated market")
    up.add_argument("--events-fd", type=int, help=argparse.SUPPRESS)
    up.add_argument("--resume-fd", type=int, help=argparse.SUPPRESS)

    replay = add_verb(
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
    replay.set_defaults(live=False, events_fd=None, resume_fd=None)

    down = add_verb(
        verbs,
        "down",
        "stop everything, in reverse order",
        "down                 and wait until nothing is left",
        "down --timeout 5     exit code 5 when something is",
    )
    down.add_argument("--timeout", type=float, default=75.0, metavar="S", help="seconds to wait")
    add_json(down)
    for name, text, *examples in (
        (
            "start",
            "start processes that were stopped or given up",
            "start feed.binance       and wait until it serves",
            "start feed               all feeds",
        ),
        ("stop", "stop processes and keep them stopped", "stop feed.binance"),
        (
            "restart",
            "replace processes; bridges without refusing a connection",
            "restart feed.binance     drain it, start it anew, wait until it serves",
            "restart bridge           all bridges, one at a time: each new one serves first",
            "restart --rotate feed    keep the processes, replace their venue connections",
        ),
    ):
        verb = add_verb(verbs, name, text, *examples)
        verb.add_argument("names", nargs="+", metavar="NAME", help="a process, or bridge or feed")
        verb.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="seconds")
        add_json(verb)
        if name == "restart":
            verb.add_argument(
                "--rotate",
                action="store_true",
                help="feeds: keep the process, replace its venue connections, new before old",
            )

    reload = add_verb(
        verbs,
        "reload",
        "read the settings file again and apply what changed",
        "reload --dry-run     what would change, and which processes would be touched",
        "reload               do it; wrong settings change nothing and are all listed",
    )
    reload.add_argument("--dry-run", action="store_true", help="show it, do nothing")
    reload.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="for each step")
    add_json(reload)

    scale = add_verb(
        verbs,
        "scale",
        "change how many bridges run",
        "scale bridge 4     until the next `reload` or `up`, which go by the settings file",
    )
    scale.add_argument("name", metavar="NAME", help="bridge")
    scale.add_argument("count", type=int, metavar="N", help="how many are to run")
    scale.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="for each step")
    add_json(scale)

    reexec = add_verb(
        verbs,
        "reexec",
        "run the supervisor's installed code anew, in place, keeping every process",
        "reexec     after an upgrade; then `restart` what is to have the new code too",
    )
    reexec.add_argument("--timeout", type=seconds, default=30.0, metavar="S", help="seconds (30)")
    add_json(reexec)

    add_feed(verbs)
    add_token(verbs)

    config = add_verb(
        verbs,
        "config",
        "write, check or show the settings",
        "config init              the commented default file, mdbus.toml",
        "config init --systemd         a unit file for systemd, mdbus.service",
        "config init --systemd-user    the same for `systemctl --user`",
        "config check             every mistake in the file at once",
        "config show              the settings in force",
    )
    config.add_argument("what", choices=("init", "check", "show"))
    config.add_argument("--systemd", action="store_true", help="init: a unit file for systemd")
    config.add_argument(
        "--systemd-user", action="store_true", help="init: a unit file for `systemctl --user`"
    )
    config.add_argument("--force", action="store_true", help="init: replace an existing file")
    config.add_argument("--set", **SET)


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="run in the background")
    add_settings(parser)
    parser.add_argument("--binance", action="store_true", help="this feed (and others named) only")
    parser.add_argument("--finnhub", action="store_true", help="this feed (and others named) only")
    parser.add_argument("--workers", type=int, metavar="N", help="WebSocket bridge processes")


def _add_questions(verbs: Any) -> None:
    status = add_verb(
        verbs,
        "status",
        "what runs, how long, how much it takes",
        "status              a table",
        "status --json       for programs",
    )
    add_json(status)
    top = add_verb(
        verbs,
        "top",
        "the processes, live: messages a second, lag, freshness, and what was lost",
        "top              again every second; q leaves",
        "top --once       one look",
    )
    top.add_argument("--once", action="store_true", help="one look, then leave")
    top.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds (1)")
    add_json(top)
    check = add_verb(
        verbs,
        "check",
        "exit 0 when the processes are healthy, 1 when not (for probes)",
        "check                    all processes; a venue that is down is not their fault",
        "check bridge.1 broker    these",
        "check --data             and 1 when a feed's data is not live, too",
    )
    check.add_argument("--data", action="store_true", help="judge the data of the feeds, too")
    check.add_argument("names", nargs="*", metavar="NAME", help="only these processes")
    add_json(check)
    doctor = add_verb(
        verbs,
        "doctor",
        "check machine and settings, and say how to mend what is wrong",
        "doctor              before the first `up`, or when something is odd",
        "doctor --live       whether `up --live` has what it needs, API keys included",
        "doctor --venues     whether the venues can be reached, too",
    )
    doctor.add_argument("--live", action="store_true", help="as `up --live` would need it")
    doctor.add_argument("--venues", action="store_true", help="look at the venues in any mode")
    add_settings(doctor)
    add_json(doctor)
    logs = add_verb(
        verbs,
        "logs",
        "show the logs of one process, of some or of all",
        "logs -f                          all of them, merged, as they are written",
        "logs feed.binance -n 500",
        "logs --level warning --grep gap  what matters, of all",
    )
    logs.add_argument("names", nargs="*", metavar="NAME", help="e.g. feed.binance, supervisor")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines are written")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="last N lines (50)")
    logs.add_argument("--level", choices=_LEVELS, help="lines of this level and above")
    logs.add_argument("--grep", metavar="TEXT", help="lines that hold TEXT, in any case")
    metrics = add_verb(
        verbs,
        "metrics",
        "every figure of every process, for Prometheus",
        "metrics --listen 9464         at http://127.0.0.1:9464/metrics, until Ctrl-C",
        "metrics                       print them once, e.g. into a file for node_exporter",
    )
    metrics.add_argument(
        "--listen", metavar="[HOST:]PORT", help="serve them over HTTP, on loopback"
    )
    events = add_verb(
        verbs,
        "events",
        "what happened and why, restarts of the supervisor included",
        "events -n 100",
        "events feed.binance --kind exited",
        "events -f",
    )
    events.add_argument("names", nargs="*", metavar="NAME", help="only of these processes")
    events.add_argument("-n", "--lines", type=int, default=40, metavar="N", help="last N (40)")
    events.add_argument("-f", "--follow", action="store_true", help="go on as they happen")
    events.add_argument("--kind", metavar="KIND", help="e.g. exited, hung, restarting, ready")
    add_json(events)
    dump = add_verb(
        verbs,
        "dump",
        "show where every thread of a process is, without stopping it",
        "dump feed.binance     works on a process whose loop is stuck, too",
    )
    dump.add_argument("name", metavar="NAME", help="e.g. feed.binance")
    dump.add_argument("--timeout", type=seconds, default=5.0, metavar="S", help="seconds (5)")
    add_json(dump)


def _add_data(verbs: Any) -> None:
    tail = add_verb(
        verbs,
        "tail",
        "print ticks as they come",
        "tail md/trades/                       every trade",
        "tail md/price/sim/BTC-USDT/ -c 10     ten prices of one instrument",
        "tail sys/status/ --json               what the feeds say of themselves, for programs",
    )
    tail.add_argument("prefix", metavar="PREFIX", help="e.g. md/trades/ or md/price/sim/")
    tail.add_argument("-c", "--count", type=int, metavar="N", help="stop after N ticks")
    tail.add_argument("--timeout", type=float, metavar="S", help="give up after S seconds")
    tail.add_argument("--no-snapshot", action="store_true", help="live ticks only")
    tail.add_argument("--history", action="store_true", help="cached trades, news, deltas too")
    add_json(tail)
    get = add_verb(
        verbs,
        "get",
        "the last value of one topic, from the cache",
        "get md/price/sim/BTC-USDT/",
        "get md/orderbook/sim/BTC-USDT/ --json",
    )
    get.add_argument("topic", metavar="TOPIC", help="e.g. md/price/sim/BTC-USDT/")
    get.add_argument("--timeout", type=float, default=3.0, metavar="S", help="seconds to wait (3)")
    add_json(get)
    topics = add_verb(
        verbs,
        "topics",
        "every topic in the cache",
        "topics                  all of them",
        "topics md/orderbook/    the books",
    )
    topics.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="e.g. md/price/")
    topics.add_argument("--timeout", type=float, default=3.0, metavar="S", help="seconds to wait")
    add_json(topics)


def _version() -> str:
    from bus import __version__

    return f"mdbus {__version__}"
