"""Settings as text: the commented default file, the file handed to children, the docs table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bus.config.field import Meaning, meanings
from bus.config.settings import Settings

_WIDTH = 96
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def default_toml() -> str:
    """The commented ``mdbus.toml``: every setting with its default, unit, range and meaning."""
    return "\n".join(
        (
            "# mdbus configuration. Every key is optional; what stands here are the defaults.",
            "# Check an edited file with: mdbus config check --config FILE",
            *_document(Settings(), commented=True),
            "",
        )
    )


def to_toml(settings: Settings) -> str:
    """The settings in force, complete and without comments; loading it gives them back."""
    return "\n".join((*_document(settings, commented=False), ""))


def settings_table() -> str:
    """A Markdown table of every setting, for the documentation."""
    lines = ["| setting | default | unit, range | meaning |", "|---|---|---|---|"]
    for key, value, declared in _walk(Settings(), ""):
        shown = _value(value).replace("|", "\\|")
        cell = f"`{shown}`" if len(shown) <= 70 else "see `mdbus config init`"
        limits = _limits(declared).replace("|", "\\|")
        lines.append(f"| `{key}` | {cell} | {limits} | {declared.doc} |")
    return "\n".join((*lines, ""))


def known_keys() -> list[str]:
    """Every dotted setting name, in file order."""
    return [key for key, _, _ in _walk(Settings(), "")]


def _walk(section: Any, prefix: str) -> Iterator[tuple[str, Any, Meaning]]:
    for key, declared in meanings(section).items():
        value = getattr(section, key)
        if declared is not None:
            yield f"{prefix}{key}", value, declared
        elif isinstance(value, dict):
            for name, below in value.items():
                yield from _walk(below, f"{prefix}{key}.{name}.")
        else:
            yield from _walk(value, f"{prefix}{key}.")


def _document(section: Any, *, commented: bool, prefix: str = "") -> Iterator[str]:
    """Plain keys first, then tables: TOML's own order."""
    tables: list[tuple[str, Any, Meaning | None]] = []
    for name, declared in meanings(section).items():
        value = getattr(section, name)
        if declared is None or isinstance(value, dict):
            tables.append((name, value, declared))
            continue
        if commented:
            yield ""
            yield from _comment(declared)
        yield f"{name} = {_value(value)}"
    for name, value, declared in tables:
        dotted = f"{prefix}{name}"
        if declared is not None:
            yield ""
            if commented:
                yield from _comment(declared)
            yield f"[{dotted}]"
            for key, item in value.items():
                yield f"{_key(key)} = {_value(item)}"
        elif isinstance(value, dict):
            for key, below in value.items():
                yield ""
                yield f"[{dotted}.{_key(key)}]"
                yield from _document(below, commented=commented, prefix=f"{dotted}.{_key(key)}.")
        else:
            yield ""
            yield f"[{dotted}]"
            yield from _document(value, commented=commented, prefix=f"{dotted}.")


def _comment(declared: Meaning) -> Iterator[str]:
    limits = _limits(declared)
    text = f"{declared.doc} [{limits}]" if limits else declared.doc
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = "#"
        line = f"{line} {word}"
    yield line


def _limits(declared: Meaning) -> str:
    parts = [declared.unit] if declared.unit else []
    if declared.choices:
        parts.append(" | ".join(declared.choices))
    if declared.minimum is not None and declared.maximum is not None:
        parts.append(f"{declared.minimum:g} to {declared.maximum:g}")
    elif declared.minimum is not None:
        parts.append(f"at least {declared.minimum:g}")
    elif declared.maximum is not None:
        parts.append(f"at most {declared.maximum:g}")
    return ", ".join(parts)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are a subset of TOML's, except that TOML also bars a raw DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    return repr(value)
