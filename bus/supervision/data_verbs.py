"""``tail get topics``: what is on the bus, read as any other consumer reads it."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from bus.client import EpochChange, Event, Gap, SnapshotEnd, Subscriber, Update
from bus.clock import now_ns
from bus.errors import ConfigError, TopicError
from bus.model.streams import STREAMS, StreamKind
from bus.model.tick import Tick
from bus.model.topic import Topic
from bus.supervision import exit_codes
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.documents import json_line, print_document
from bus.supervision.locate import run_dir_for, settings_for
from bus.supervision.lock import running_pid
from bus.supervision.nearest import nearest
from bus.supervision.tables import age
from bus.supervision.tick_lines import tick_json, tick_line, tick_table
from bus.wire.topic import check_prefix

if TYPE_CHECKING:
    from bus.config import Settings

_SLICE_S: Final = 0.25
_SILENCE_S: Final = 3.0
_ROOTS: Final = ("md/", "sys/")


def run_tail(arguments: argparse.Namespace) -> int:
    """Print ticks until ``--count`` or an interrupt; 5 when the time was over before that."""
    prefix = checked_prefix(arguments.prefix)
    shown = 0
    seen: set[Topic] = set()
    if arguments.count is not None and arguments.count < 1:
        raise ConfigError.of("--count", "must be at least 1", where="tail")
    with _subscriber(arguments) as subscriber:
        subscriber.subscribe(prefix, snapshot=not arguments.no_snapshot)
        for event in _events(subscriber, arguments.timeout, prefix):
            line = _line(event, as_json=arguments.json, history=arguments.history)
            if isinstance(event, SnapshotEnd) and shown and not arguments.json:
                line = "-- that was kept, this is live"
            if line is None:
                continue
            if isinstance(event, Update):
                seen.add(event.tick.topic)
            elif isinstance(event, (Gap, EpochChange)) and event.topic not in seen:
                continue  # of what was never shown, nothing can be missing
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            shown += isinstance(event, Update)
            if shown == arguments.count:
                return exit_codes.OK
    what = f"only {shown} of {arguments.count} ticks" if arguments.count else "no more"
    sys.stderr.write(f"mdbus: {what} after {arguments.timeout:g} s\n")
    return exit_codes.TIMEOUT if arguments.count or not shown else exit_codes.OK


def run_get(arguments: argparse.Namespace) -> int:
    """Print the last value of a topic; 1 when the cache has none, 5 when nobody answers."""
    prefix = checked_prefix(arguments.topic, "topic")
    last: Update | None = None
    for update in _snapshot(arguments, [prefix]):
        if last is None or update.tick.pub_ts_ns >= last.tick.pub_ts_ns:
            last = update
    if last is None:
        text = f"nothing is cached under {prefix} (see: mdbus topics)"
        raise RefusedError(exit_codes.FAILED, text)
    if last.tick.topic.name != prefix:
        sys.stderr.write(f"mdbus: {prefix} is not one topic; this is the newest under it\n")
    if arguments.json:
        print_document(tick_table(last.tick))
    else:
        sys.stdout.write(tick_line(last.tick) + "\n")
    return exit_codes.OK


class _Kept(msgspec.Struct):
    """What the cache keeps of one topic."""

    last: Tick
    messages: int


def run_topics(arguments: argparse.Namespace) -> int:
    """List every topic in the cache with how much of it is kept and how old the last one is."""
    prefixes = [checked_prefix(arguments.prefix)] if arguments.prefix else list(_ROOTS)
    kept: dict[str, _Kept] = {}
    for update in _snapshot(arguments, prefixes):
        name = update.tick.topic.name
        entry = kept.setdefault(name, _Kept(update.tick, 0))
        entry.last = update.tick
        if STREAMS[update.tick.topic.stream].kind is StreamKind.STATE:
            entry.messages = 1
        else:  # what went by meanwhile is in the cache too, but was not asked for
            entry.messages += update.kind == "snapshot"
    now = now_ns()
    rows = [
        {
            "topic": name,
            "kind": STREAMS[entry.last.topic.stream].kind.value,
            "cached": entry.messages,
            "epoch": entry.last.epoch,
            "seq": entry.last.seq,
            "age_s": round((now - entry.last.pub_ts_ns) / 1e9, 3),
        }
        for name, entry in sorted(kept.items())
    ]
    if arguments.json:
        print_document({"topics": rows})
        return exit_codes.OK
    width = max([len("TOPIC"), *map(len, kept)])
    sys.stdout.write(f"{'TOPIC':<{width}}  {'KIND':<5}  {'CACHED':>6}  {'SEQ':>9}  {'AGE':>7}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['topic']:<{width}}  {row['kind']:<5}  {row['cached']:>6}  {row['seq']:>9}  "
            f"{age(max(0.0, float(str(row['age_s'])))):>7}\n"
        )
    return exit_codes.OK


def checked_prefix(text: str, what: str = "prefix") -> str:
    """A prefix as the bus wants it: the final slash is added when it is missing.

    ``what`` is what the user was asked for, a prefix or a topic.

    Raises `ConfigError` for one that no topic can begin with, naming the nearest stream.
    """
    prefix = text if text.endswith("/") else f"{text}/"
    try:
        check_prefix(prefix)
    except TopicError as error:
        known = "what there is: mdbus topics"
        hint = f"e.g. md/price/ or md/trades/sim/BTC-USDT/; {known}"
        why = error.why
        if what == "topic":
            hint = f"e.g. md/price/sim/BTC-USDT/; {known}"
            why = why.replace("a prefix", "a topic")
        raise ConfigError.of(text, why, where=what, hint=hint) from error
    root, _, rest = prefix.partition("/")
    stream = rest.partition("/")[0]
    streams = [name for name in STREAMS if (name == "status") == (root == "sys")]
    if stream and stream not in streams:
        near = nearest(stream, streams)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(streams)}"
        raise ConfigError.of(text, f"there is no stream {stream!r}", where=what, hint=hint)
    return prefix


def _line(event: Event, *, as_json: bool, history: bool) -> str | None:
    """What to print for an event; None for nothing."""
    match event:
        case Update(tick, kind):
            is_state = STREAMS[tick.topic.stream].kind is StreamKind.STATE
            if kind == "snapshot" and not (is_state or history):
                return None  # the last hour of trades is not what `tail` is asked for
            return tick_json(tick, kind) if as_json else tick_line(tick)
        case Gap():
            facts = {"topic": event.topic.name, "from": event.from_seq, "to": event.to_seq}
            if as_json:
                return json_line({"gap": {**facts, "reason": event.reason}})
            return f"-- gap in {event.topic.name}: {event.from_seq} to {event.to_seq} are lost"
        case EpochChange() if not as_json:
            return f"-- {event.topic.name}: its publisher restarted"
        case EpochChange():
            return json_line({"epoch_change": {"topic": event.topic.name, "new": event.new}})
    return None


def _events(subscriber: Subscriber, timeout_s: float | None, prefix: str) -> Iterator[Event]:
    """Events until the time is over; says once, on stderr, that nothing comes."""
    begun = time.monotonic()
    heard = False
    while timeout_s is None or time.monotonic() - begun < timeout_s:
        event = subscriber.recv(_SLICE_S)
        if event is not None:
            heard = heard or isinstance(event, Update)
            yield event
        elif not heard and time.monotonic() - begun > _SILENCE_S:
            heard = True
            sys.stderr.write(f"mdbus: nothing yet under {prefix} (what there is: mdbus topics)\n")


def _snapshot(arguments: argparse.Namespace, prefixes: list[str]) -> list[Update]:
    """Everything the cache has under the prefixes; raises when the broker does not answer."""
    found: list[Update] = []
    deadline = time.monotonic() + arguments.timeout
    with _subscriber(arguments) as subscriber:
        for prefix in prefixes:
            subscriber.subscribe(prefix)
        open_prefixes = len(prefixes)
        while open_prefixes and (left := deadline - time.monotonic()) > 0:
            event = subscriber.recv(left)
            if isinstance(event, Update):
                found.append(event)
            elif isinstance(event, SnapshotEnd):
                open_prefixes -= 1
    if open_prefixes:
        raise RefusedError(
            exit_codes.TIMEOUT, f"the broker did not answer within {arguments.timeout:g} s"
        )
    return found


def _subscriber(arguments: argparse.Namespace) -> Subscriber:
    """Subscribes where the bus that runs says, else where the settings say: a broker may run by
    hand.
    """
    run_dir = run_dir_for(arguments)
    if running_pid(run_dir) is not None:
        with contextlib.suppress(RefusedError):
            return Subscriber(str(ask(run_dir, "status")["endpoints"]["subscribe"]))
    settings = _settings(arguments, run_dir)
    endpoint = settings.endpoints.subscribe
    if running_pid(settings.run_path) is None and not _is_served(endpoint):
        raise NoSupervisorError(settings.run_path)
    return Subscriber(endpoint)


def _is_served(endpoint: str) -> bool:
    """Whether a broker run by hand may be there: nobody listening on an ipc socket says no."""
    if not endpoint.startswith("ipc://"):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(endpoint.removeprefix("ipc://")) == 0


def _settings(arguments: argparse.Namespace, run_dir: str) -> Settings:
    """Those the bus was last started with, else those the command names."""
    from pathlib import Path  # a bus that runs needs none of this

    from bus.config import load

    effective = Path(run_dir, "effective.toml")
    return load(effective) if effective.exists() else settings_for(arguments)
