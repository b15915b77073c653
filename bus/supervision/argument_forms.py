"""Pieces that the parsers of all verbs are made of."""

from __future__ import annotations

import argparse
import os
from typing import Any, Final


class Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse asks `shutil` for that, whose import takes longer than
    all the rest of the parsing.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        options.setdefault("width", columns() - 2)
        super().__init__(prog, **options)


def columns() -> int:
    """The width of the terminal, or 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


SET: Final[dict[str, Any]] = {
    "action": "append",
    "default": [],
    "dest": "overrides",
    "metavar": "KEY=VALUE",
    "help": "one setting, over the file; may be repeated",
}


def parser_of(
    among: Any, name: str, text: str, description: str, *examples: str
) -> argparse.ArgumentParser:
    """A parser among those of a parser: its line in their list, its own help, its examples."""
    parser: argparse.ArgumentParser = among.add_parser(
        name,
        help=text,
        description=description,
        epilog=examples_of(*examples),
        formatter_class=Help,
    )
    return parser


def add_verb(verbs: Any, name: str, text: str, *examples: str) -> argparse.ArgumentParser:
    """A verb with its help and its examples; it knows where the bus is."""
    parser = parser_of(verbs, name, text, text, *examples)
    add_location(parser)
    return parser


def examples_of(*examples: str) -> str | None:
    """Lines that begin with the verb, which argparse knows as its own ``prog``."""
    lines = (f"  %(prog)s {line.partition(' ')[2]}".rstrip() for line in examples)
    return "\n".join(["examples:", *lines]) if examples else None


def seconds(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number


def add_location(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """``--config`` and ``--run-dir``."""
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


def add_settings(parser: argparse.ArgumentParser) -> None:
    """``--set``."""
    parser.add_argument("--set", **SET)


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="for programs")
