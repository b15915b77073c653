"""Two settings compared: what differs, and what that asks of which process. Pure.

The rules, by the key that changed:

=============================  =====================================================
key                            what follows
=============================  =====================================================
``run_dir``                    refused: another run directory is another bus
``mode``                       every process is replaced
``log_level``                  every process is told
``broker.publish|subscribe``   everything but the simulator is replaced
``broker.*``                   the broker is replaced
``bridge.workers``             bridges are added or stopped
``bridge.*``                   the bridges are replaced
``simulator.host``             the simulator and the feeds are replaced
``simulator.ports.<venue>``    the simulator and the feeds of that venue are replaced
``simulator.*``                the simulator is replaced
``supervisor.*``               in force at once, nothing is replaced
``feeds.<name>.enabled``       the feed is started or stopped; bridges take new settings
``feeds.<name>.symbols``       the feed is told; bridges take new settings
``feeds.<name>.*``             the feed is replaced; bridges take new settings
``aliases.*``                  bridges take new settings
=============================  =====================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bus.config import Settings
from bus.supervision.plan import Planner, plan


@dataclass(frozen=True, slots=True)
class Change:
    """One key whose value differs; None stands for a key that one side does not have."""

    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class SymbolChange:
    """What a running feed is to take up and to give up."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a change of settings asks for. The sets hold process names and are disjoint, except
    that a bridge in ``informed`` may be none that is in ``replaced``.
    """

    changes: tuple[Change, ...] = ()
    stopped: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    symbols: Mapping[str, SymbolChange] = field(default_factory=dict)
    informed: frozenset[str] = frozenset()
    log_level: bool = False


def keep_ports(new: Settings, current: Settings) -> Settings:
    """``new`` with every port that is left to chance (0) as it is now, and the same run directory
    when none is named.
    """
    ports = {
        venue: port or current.simulator.ports.get(venue, 0)
        for venue, port in new.simulator.ports.items()
    }
    return dataclasses.replace(
        new,
        run_dir=new.run_dir or current.run_dir,
        bridge=dataclasses.replace(new.bridge, port=new.bridge.port or current.bridge.port),
        simulator=dataclasses.replace(new.simulator, ports=ports),
    )


def differences(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Every key whose value differs, in the order of the settings file."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [*after, *(key for key in before if key not in after)]
    return tuple(
        Change(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    )


def consequences(old: Settings, new: Settings, planner: Planner = plan) -> Consequences:
    """What follows from running with ``new`` instead of ``old``; see the table above."""
    changes = differences(old, new)
    before = {spec.name: spec for spec in planner(old)}
    after = {spec.name: spec for spec in planner(new)}
    staying = before.keys() & after.keys()
    bridges = {name for name in staying if after[name].kind == "bridge"}
    replaced: set[str] = set()
    informed: set[str] = set()
    symbols: dict[str, SymbolChange] = {}
    for change in changes:
        parts = change.key.split(".")
        replaced |= _replaced(parts, new, staying, bridges)
        if parts[0] in ("feeds", "aliases"):
            informed |= bridges
        if parts[0] == "feeds" and parts[2:] == ["symbols"]:
            symbols[parts[1]] = _symbol_change(change)
    if new.simulated_ports.keys() - old.simulated_ports.keys():
        replaced.add("simulator")  # it serves the venues of the feeds that were enabled
    replaced &= staying
    return Consequences(
        changes=changes,
        stopped=frozenset(before.keys() - after.keys()),
        started=frozenset(after.keys() - before.keys()),
        replaced=frozenset(replaced),
        symbols={
            feed: change
            for feed, change in symbols.items()
            if f"feed.{feed}" in staying and f"feed.{feed}" not in replaced
        },
        informed=frozenset(informed - replaced),
        log_level=old.log_level != new.log_level,
    )


def _replaced(parts: list[str], new: Settings, staying: set[str], bridges: set[str]) -> set[str]:
    feeds = {name for name in staying if name.startswith("feed.")}
    match parts:
        case ["mode"]:
            return set(staying)
        case ["broker", "publish" | "subscribe"]:
            return staying - {"simulator"}
        case ["broker", *_]:
            return {"broker"}
        case ["bridge", "workers"]:
            return set()
        case ["bridge", *_]:
            return bridges
        case ["simulator", "host"]:
            return {"simulator", *feeds}
        case ["simulator", "ports", venue]:
            of_venue = {f"feed.{feed}" for feed in new.feeds if new.venue_of(feed) == venue}
            return {"simulator", *of_venue} if new.simulated else set()
        case ["simulator", *_]:
            return {"simulator"}
        case ["feeds", _, "symbols" | "enabled"]:
            return set()
        case ["feeds", feed, *_]:
            return {f"feed.{feed}"}
    return set()


def _symbol_change(change: Change) -> SymbolChange:
    old, new = change.old or (), change.new or ()
    return SymbolChange(
        added=tuple(symbol for symbol in new if symbol not in old),
        removed=tuple(symbol for symbol in old if symbol not in new),
    )


def _flat(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as (dotted key, value); tables are taken apart."""
    items = (
        section.items()
        if isinstance(section, dict)
        else ((each.name, getattr(section, each.name)) for each in dataclasses.fields(section))
    )
    for name, value in items:
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
