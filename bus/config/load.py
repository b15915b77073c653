"""From a TOML file and ``key=value`` overrides to :class:`~bus.config.settings.Settings`.

Every problem is found before any is reported: unknown keys with the nearest known one, wrong
types, values out of range, all with file and dotted key.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from bus.config.access import ALGORITHMS
from bus.config.bridge import LEAST_TTL_S, is_loopback
from bus.config.feeds import DEFAULT_FEEDS, FeedSettings
from bus.config.field import Meaning, meaning
from bus.config.settings import Settings
from bus.config.venues import MARKET_STREAMS
from bus.errors import ConfigError, Problem


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read ``path`` (``None``: all defaults) and apply ``key=value`` overrides, in order.

    Override keys are dotted (``bridge.port=9000``); their values are TOML, a bare word counts as
    a string. Raises :class:`~bus.errors.ConfigError` with every problem found.
    """
    problems: list[Problem] = []
    table: dict[str, Any] = {}
    where = "settings"
    if path is not None:
        where = str(path)
        table = _read(Path(path), problems)
    origin: dict[str, str] = {}
    for override in overrides:
        _override(table, override, origin, problems)
    loader = _Loader(where, origin, problems)
    settings: Settings = loader.section(Settings, table, "", Settings())
    if not problems:
        loader.check_together(settings)
    if problems:
        raise ConfigError(problems)
    return settings


def prepare(kind: Any = Settings) -> None:
    """Do beforehand what `load` does once in a process: find the types of all settings."""
    for hint in _hints(kind).values():
        for below in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(below):
                prepare(below)


def _read(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(Problem(str(path), "", "no such file", "write one with: mdbus config init"))
    except IsADirectoryError:
        problems.append(Problem(str(path), "", "is a directory, a TOML file is expected"))
    except PermissionError:
        problems.append(Problem(str(path), "", "cannot be read: permission denied"))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), "", f"not UTF-8 at byte {error.start}"))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(path), "", f"not valid TOML: {error}"))
    return {}


def _override(
    table: dict[str, Any], text: str, origin: dict[str, str], problems: list[Problem]
) -> None:
    where = f"--set {text}"
    key, equals, raw = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        problems.append(Problem(where, "", "not of the form key=value", "e.g. bridge.port=9000"))
        return
    try:
        value = tomllib.loads(f"value = {raw.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    node = table
    for part in parts[:-1]:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):
            problems.append(Problem(where, key, f"{part} is a value, not a table"))
            return
        node = below
    node[parts[-1]] = value
    origin[".".join(parts)] = where


@dataclasses.dataclass
class _Loader:
    where: str
    origin: dict[str, str]
    problems: list[Problem]

    def section(self, kind: type[Any], table: Mapping[str, Any], prefix: str, base: Any) -> Any:
        hints = _hints(kind)  # type: ignore[arg-type]  # a class can be hashed
        fields = {field.name: field for field in dataclasses.fields(kind)}
        values: dict[str, Any] = {}
        for key, value in table.items():
            dotted = f"{prefix}{key}"
            field = fields.get(key)
            if field is None:
                self.unknown(dotted, key, fields)
                continue
            declared = meaning(field)
            if declared is not None and isinstance(value, dict) and _is_table(hints[key]):
                found = self.table(dotted, value, hints[key], declared, getattr(base, key))
            elif declared is not None:
                found = self.value(dotted, value, hints[key], declared)
            elif not isinstance(value, dict):
                self.problem(dotted, f"is a table of settings, not {_kind(value)}")
                continue
            elif key == "feeds":
                found = self.feeds(value)
            elif _is_table(hints[key]):
                found = self.sections(dotted, value, hints[key], getattr(base, key))
            else:
                found = self.section(hints[key], value, f"{dotted}.", getattr(base, key))
            if found is not None:
                values[key] = found
        return dataclasses.replace(base, **values)

    def feeds(self, table: Mapping[str, Any]) -> dict[str, FeedSettings]:
        feeds = dict(DEFAULT_FEEDS)
        for name, value in table.items():
            if not isinstance(value, dict):
                self.problem(f"feeds.{name}", f"is a table of settings, not {_kind(value)}")
                continue
            if name not in DEFAULT_FEEDS and "venue" not in value:
                self.unknown(f"feeds.{name}", name, DEFAULT_FEEDS, "a new feed needs a venue key")
                continue
            base = DEFAULT_FEEDS.get(name, FeedSettings())
            feeds[name] = self.section(FeedSettings, value, f"feeds.{name}.", base)
        return feeds

    def sections(
        self, dotted: str, table: Mapping[str, Any], hint: Any, base: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Tables of one kind under free names; they add to the default ones."""
        kind = typing.get_args(hint)[1]
        found = dict(base)
        for name, value in table.items():
            if not isinstance(value, dict):
                self.problem(f"{dotted}.{name}", f"is a table of settings, not {_kind(value)}")
                continue
            found[name] = self.section(kind, value, f"{dotted}.{name}.", base.get(name, kind()))
        return found

    def table(
        self, dotted: str, table: Mapping[str, Any], hint: Any, declared: Meaning, base: Any
    ) -> dict[str, Any]:
        """A table whose keys are free; it adds to the default one."""
        inner = typing.get_args(hint)[1]
        found = {
            key: self.value(f"{dotted}.{key}", value, inner, declared)
            for key, value in table.items()
        }
        return {**base, **{key: value for key, value in found.items() if value is not None}}

    def value(self, dotted: str, value: Any, hint: Any, declared: Meaning) -> Any:
        found = _typed(value, hint)
        if found is None:
            unit = f" ({declared.unit})" if declared.unit else ""
            self.problem(dotted, f"must be {_expected(hint)}{unit}, not {_shown(value)}")
            return None
        if declared.choices and found not in declared.choices:
            near = _nearest(str(found), declared.choices)
            self.problem(dotted, f"must be one of {', '.join(declared.choices)}", near)
            return None
        if isinstance(found, int | float) and not isinstance(found, bool):
            unit = f" {declared.unit}" if declared.unit else ""
            if declared.minimum is not None and found < declared.minimum:
                self.problem(dotted, f"{found} is below the least, {declared.minimum:g}{unit}")
                return None
            if declared.maximum is not None and found > declared.maximum:
                self.problem(dotted, f"{found} is above the most, {declared.maximum:g}{unit}")
                return None
        return found

    def check_together(self, settings: Settings) -> None:
        """What no single key can tell."""
        for alias, target in settings.aliases.items():
            key = f"aliases.{alias}"
            symbol, at, feed = target.partition("@")
            if not (symbol and at and feed):
                self.problem(key, f'{target!r} is not of the form "SYMBOL@feed"')
            elif feed not in settings.feeds:
                near = _nearest(feed, settings.feeds)
                self.problem(key, f"there is no feed {feed!r}", near)
            if alias != alias.upper():
                self.problem(key, "aliases are upper case", f"write {alias.upper()}")
        self.check_ports(settings)
        self.check_topics(settings)
        self.check_ttls(settings)
        self.check_access(settings)
        self.check_exposed(settings)

    def check_ttls(self, settings: Settings) -> None:
        """TTLs of single symbols name topics that are there."""
        for name, ttl_s in settings.bridge.ttl_s.items():
            key = f"bridge.ttl_s.{name}"
            stream, _, symbol = name.partition(".")
            if stream not in MARKET_STREAMS or not symbol:
                streams = f"streams are {', '.join(MARKET_STREAMS)}"
                self.problem(key, f'{name!r} is not of the form "stream.SYMBOL"', streams)
            elif settings.resolve_alias(symbol) is None:
                self.problem(key, f"no enabled feed serves {symbol!r}")
            if ttl_s < LEAST_TTL_S:
                self.problem(key, f"{ttl_s:g} is below the least, {LEAST_TTL_S:g} s")

    def check_ports(self, settings: Settings) -> None:
        """Every port is one, and nobody shares it."""
        for venue, port in settings.simulator.ports.items():
            if not 0 <= port <= 65_535:
                self.problem(f"simulator.ports.{venue}", f"{port} is no port", "0 to 65535")
        bridge = settings.bridge
        ports = {"bridge.port": bridge.port}
        if bridge.admin.enabled and bridge.admin.port:
            last = bridge.admin.port + bridge.workers - 1
            if last > 65_535:
                self.problem(
                    "bridge.admin.port", f"the last of {bridge.workers} workers would have {last}"
                )
            if bridge.admin.port <= bridge.port <= last:
                self.problem("bridge.admin.port", f"the workers' ports reach {bridge.port}")
        for venue, port in settings.simulated_ports.items():
            ports[f"simulator.ports.{venue}"] = port
        seen: dict[int, str] = {}
        for key, port in ports.items():
            if port and port in seen:
                self.problem(key, f"port {port} is taken by {seen[port]} already")
            seen.setdefault(port, key)

    def check_topics(self, settings: Settings) -> None:
        """No two enabled feeds publish the same topics: their ticks could not be told apart."""
        publishers: dict[str, str] = {}
        for name, feed in settings.feeds.items():
            if not feed.enabled:
                continue
            label = settings.venue_label(name)
            topics = [("symbols", f"{label}/{symbol}") for symbol in feed.symbols]
            topics += [
                ("news_categories", f"news/{label}/{category}") for category in feed.news_categories
            ]
            for key, topic in topics:
                other = publishers.setdefault(topic, name)
                if other != name:
                    self.problem(
                        f"feeds.{name}.{key}",
                        f"{topic} is published by the feed {other!r} already",
                        "choose other symbols, switch one of the feeds off, or use "
                        'mode = "live", where every venue has a label of its own'
                        if settings.simulated
                        else "choose other symbols, or switch one of the feeds off",
                    )

    def check_access(self, settings: Settings) -> None:
        """Tokens can be checked at all, and what they name is there."""
        bridge = settings.bridge
        for index, name in enumerate(bridge.access.algorithms):
            if name not in ALGORITHMS:
                known = f"algorithms are {', '.join(ALGORITHMS)}"
                self.problem("bridge.access.algorithms", f"item {index + 1} is {name!r}", known)
        if not bridge.access.algorithms:
            self.problem("bridge.access.algorithms", "is empty: no token could ever be accepted")
        if bridge.access.default_tier not in bridge.tiers:
            near = _nearest(bridge.access.default_tier, bridge.tiers)
            tier = bridge.access.default_tier
            self.problem("bridge.access.default_tier", f"there is no tier {tier!r}", near)
        for proxy in bridge.limits.trusted_proxies:
            try:
                ip_network(proxy)
            except ValueError:
                self.problem(
                    "bridge.limits.trusted_proxies",
                    f"{proxy!r} is neither an address nor a network",
                    "e.g. 127.0.0.1 or 10.0.0.0/8",
                )

    def check_exposed(self, settings: Settings) -> None:
        """Nothing listens off loopback for everybody unless that was asked for outright."""
        bridge = settings.bridge
        if bridge.auth not in ("jwt", "none") and not is_loopback(bridge.host):
            self.problem(
                "bridge.host",
                f"{bridge.host!r} is reachable from other machines, and there is no authentication",
                'listen on 127.0.0.1, set bridge.auth = "jwt" and a key, or bridge.auth = "none" '
                "to serve everybody",
            )
        admin = bridge.admin
        if admin.enabled and not admin.token and not is_loopback(admin.host):
            self.problem(
                "bridge.admin.host",
                f"{admin.host!r} is reachable from other machines, and there is no token",
                "listen on 127.0.0.1, or set bridge.admin.token",
            )

    def unknown(self, dotted: str, key: str, known: Iterable[str], otherwise: str = "") -> None:
        near = _nearest(key, known, dotted.removesuffix(key))
        self.problem(dotted, "unknown setting", near or otherwise)

    def problem(self, dotted: str, message: str, hint: str = "") -> None:
        where = self.origin.get(dotted, self.where)
        self.problems.append(Problem(where, dotted, message, hint))


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a section's keys; every feed has the same section, and finding them is slow."""
    return typing.get_type_hints(kind)


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    import difflib  # every process reads settings, hardly any finds a fault in them

    match = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"did you mean {prefix}{match[0]}?" if match else ""


def _is_table(hint: Any) -> bool:
    return typing.get_origin(hint) is dict


def _typed(value: Any, hint: Any) -> Any:
    """``value`` as the declared type, or ``None``; converts int to float and list to tuple only."""
    origin = typing.get_origin(hint)
    if hint is bool:
        return value if isinstance(value, bool) else None
    if hint is int:
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) else None
    if hint is str:
        return value if isinstance(value, str) else None
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        items = tuple(_typed(item, inner) for item in value)
        return None if any(item is None for item in items) else items
    return None


def _expected(hint: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    if hint in names:
        return names[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return f"a list, each item {_expected(arguments[0])}"
    if typing.get_origin(hint) is dict:
        return f"a table, each value {_expected(arguments[1])}"
    return str(hint)


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    return names.get(type(value), "a list" if isinstance(value, list) else "a table")


def _shown(value: Any) -> str:
    text = f"{value!r}" if not isinstance(value, bool) else str(value).lower()
    return f"{_kind(value)}: {text[:40]}{'…' if len(text) > 40 else ''}"
