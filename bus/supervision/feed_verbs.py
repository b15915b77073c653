"""``feed add|remove|list``: the symbols of a running feed."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from bus.supervision import exit_codes
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.documents import print_document
from bus.supervision.locate import run_dir_for

_COMMANDS: Final = {"add": "add_symbols", "remove": "remove_symbols", "list": "list_symbols"}


def run_feed(arguments: argparse.Namespace) -> int:
    """Change or show symbols; 1 when a symbol was refused or a feed could not be asked."""
    run_dir = run_dir_for(arguments)
    if arguments.what == "list":
        return _list(run_dir, arguments)
    answer = _ask(run_dir, arguments, process_name(arguments.feed), symbols=arguments.symbols)
    refused = answer["result"].get("refused") or []
    if arguments.json:
        print_document(answer)
    else:
        if answer.get("changed", True) or not refused:
            sys.stdout.write(_changed(answer))
        for each in refused:
            sys.stderr.write(f"mdbus: refused: {refusal_line(each)}\n")
    return exit_codes.FAILED if refused or answer.get("unrecorded") else exit_codes.OK


def process_name(feed: str) -> str:
    """The process of a feed, named with or without its ``feed.``."""
    return feed if feed.startswith("feed.") else f"feed.{feed}"


def _words(near: Any) -> str:
    """Names a process offers instead, one or several, as an operator reads them."""
    names = [str(name) for name in near] if isinstance(near, list) else [str(near)]
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def refusal_line(refused: dict[str, Any]) -> str:
    """Why a symbol was refused, and what may have been meant."""
    near = refused.get("nearest")
    hint = f"; did you mean {_words(near)}?" if near else ""
    return f"{refused.get('symbol')}: {refused.get('reason') or 'refused'}{hint}"


def _ask(run_dir: str, arguments: argparse.Namespace, name: str, **words: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ask(
        run_dir,
        "command",
        wait_s=arguments.timeout,
        name=name,
        command=_COMMANDS[arguments.what],
        arguments=words,
        timeout_s=arguments.timeout,
    )
    return answer


def _list(run_dir: str, arguments: argparse.Namespace) -> int:
    if arguments.feed:
        names = [process_name(arguments.feed)]
    else:
        rows = ask(run_dir, "status")["processes"]
        names = [row["name"] for row in rows if row["kind"] == "feed"]
    found: dict[str, list[str]] = {}
    failed: dict[str, RefusedError] = {}
    for name in names:
        try:
            found[name] = list(_ask(run_dir, arguments, name)["result"].get("symbols") or [])
        except RefusedError as error:
            if arguments.feed:
                raise
            failed[name] = error
    if arguments.json:
        document: dict[str, Any] = {"feeds": found}
        if failed:
            document["errors"] = {name: str(error) for name, error in failed.items()}
        print_document(document)
    else:
        for name, symbols in found.items():
            sys.stdout.write(f"{name} ({len(symbols)}): {' '.join(symbols) or '-'}\n")
    for reason in failed.values():
        sys.stderr.write(f"mdbus: {reason}\n")
    return exit_codes.FAILED if failed else exit_codes.OK


def _changed(answer: dict[str, Any]) -> str:
    symbols = answer["result"].get("symbols") or []
    lines = [f"{answer['process']} ({len(symbols)}): {' '.join(map(str, symbols)) or '-'}"]
    if not answer["recorded"]:
        why = f" ({answer['unrecorded']})" if answer.get("unrecorded") else ""
        lines.append(f"not recorded{why}: a restart of the feed goes back to its settings")
    elif answer["lines"] and answer.get("changed", True):
        keep = "to keep this beyond `mdbus down` and `mdbus reload`, put"
        file = answer["file"]
        lines += [
            f"{file} was not changed; {keep} there:"
            if file
            else f"(no settings file) {keep} in one:",
            *(f"  {line}" for line in answer["lines"].splitlines()),
        ]
    if answer["uninformed"]:
        bridges = " ".join(answer["uninformed"])
        lines.append(f"WebSocket clients see the new list after: mdbus restart {bridges}")
    return "\n".join(lines) + "\n"
