"""``reload``: the operator's settings file read again, and what it changed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from bus.supervision import exit_codes
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.documents import print_document
from bus.supervision.feed_verbs import refusal_line
from bus.supervision.locate import run_dir_for
from bus.supervision.progress import progress

KINDS: Final = ("simulator", "broker", "feed", "bridge")


def run_reload(arguments: argparse.Namespace) -> int:
    """Apply the file, or show what that would do; 1 when not all came out as wanted."""
    try:
        path = run_dir_for(arguments)
        with progress(path, KINDS):
            result = ask(
                path,
                "reload",
                wait_s=arguments.timeout * 4,  # each of stop, tell, replace, start may take so long
                dry_run=arguments.dry_run,
                timeout_s=arguments.timeout,
            )
    except RefusedError as error:
        if error.exit_code not in (exit_codes.USAGE, exit_codes.FAILED):
            raise
        message = f"{error}\nnothing was changed, the bus goes on with the settings it has"
        raise RefusedError(error.exit_code, message) from error
    if arguments.json:
        print_document(result)
    else:
        sys.stdout.write(report(result, dry_run=arguments.dry_run))
        for each in result["refused"]:
            sys.stderr.write(f"mdbus: {each.get('process')}: refused: {refusal_line(each)}\n")
    return exit_codes.OK if result["ok"] else exit_codes.FAILED


def report(result: dict[str, Any], *, dry_run: bool) -> str:
    """The differences, and what was done (or would be) to which process."""
    if not result["changes"]:
        return "nothing has changed\n"
    lines = []
    for change in result["changes"]:
        lines += (
            [f"- {change['key']} = {_shown(change['old'])}"] if change["old"] is not None else []
        )
        lines += (
            [f"+ {change['key']} = {_shown(change['new'])}"] if change["new"] is not None else []
        )
    lines.append("")
    for step in result["steps"]:
        note = f": {step['note']}" if step["note"] else ""
        lines.append(f"{step['process']}: {step['action']}{note}")
    if not result["steps"]:
        lines.append("no process is affected")
    if dry_run:
        lines.append("nothing was done (--dry-run)")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
