"""From a TOML file and ``key=value`` overrides to :class:`~bus.config.settings.Settings`.

Every problem is found before any is reported: unknown keys with the nearest known one, wrong
types, values out of range, all with file and dotted key.
"""

from __future__ import annotations

import functools
import math
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bus.config.checks import check_together, nearest
from bus.config.feeds import DEFAULT_FEEDS, FeedSettings
from bus.config.field import Meaning, is_section, meanings
from bus.config.settings import Settings
from bus.errors import ConfigError, Problem


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read ``path`` (``None``: all defaults) and apply ``key=value`` overrides, in order.

    Override keys are dotted (``bridge.port=9000``); their values are TOML, a bare word counts as
    a string. Raises :class:`~bus.errors.ConfigError` with every problem found.
    """
    if path is None:
        return _known("", "settings", tuple(overrides))
    problems: list[Problem] = []
    text = _read(Path(path), problems)
    if problems:
        return _settings(text, str(path), overrides, problems)
    return _known(text, str(path), tuple(overrides))


@functools.lru_cache(maxsize=2)
def _known(text: str, where: str, overrides: tuple[str, ...]) -> Settings:
    """What the same text gave before: a process forked after it was read need not read it again."""
    return _settings(text, where, overrides, [])


def _settings(text: str, where: str, overrides: Sequence[str], problems: list[Problem]) -> Settings:
    table = _parse(text, where, problems)
    origin: dict[str, str] = {}
    for override in overrides:
        _override(table, override, origin, problems)
    loader = _Loader(where, origin, problems)
    settings: Settings = loader.section(Settings, table, "", Settings())
    if not problems:
        check_together(settings, loader.problem)
    if problems:
        raise ConfigError(problems)
    return settings


def prepare(kind: Any = Settings) -> None:
    """Do beforehand what `load` does once in a process: find the types of all settings."""
    for hint in _hints(kind).values():
        for below in (hint, *typing.get_args(hint)):
            if is_section(below):
                prepare(below)


def _read(path: Path, problems: list[Problem]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(Problem(str(path), "", "no such file", "write one with: mdbus config init"))
    except IsADirectoryError:
        problems.append(Problem(str(path), "", "is a directory, a TOML file is expected"))
    except PermissionError:
        problems.append(Problem(str(path), "", "cannot be read: permission denied"))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), "", f"not UTF-8 at byte {error.start}"))
    return ""


def _parse(text: str, where: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(where, "", f"not valid TOML: {error}"))
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


class _Loader:
    def __init__(self, where: str, origin: dict[str, str], problems: list[Problem]) -> None:
        self.where = where
        self.origin = origin
        self.problems = problems

    def section(self, kind: type[Any], table: Mapping[str, Any], prefix: str, base: Any) -> Any:
        hints = _hints(kind)  # type: ignore[arg-type]  # a class can be hashed
        known = meanings(kind)
        values: dict[str, Any] = {}
        for key, value in table.items():
            dotted = f"{prefix}{key}"
            if key not in known:
                self.unknown(dotted, key, known)
                continue
            declared = known[key]
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
        return kind(**{**vars(base), **values})

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
            near = nearest(str(found), declared.choices)
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

    def unknown(self, dotted: str, key: str, known: Iterable[str], otherwise: str = "") -> None:
        near = nearest(key, known, dotted.removesuffix(key))
        self.problem(dotted, "unknown setting", near or otherwise)

    def problem(self, dotted: str, message: str, hint: str = "") -> None:
        where = self.origin.get(dotted, self.where)
        self.problems.append(Problem(where, dotted, message, hint))


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a section's keys; every feed has the same section, and finding them is slow."""
    return typing.get_type_hints(kind)


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
