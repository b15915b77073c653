"""``down status start stop restart check``: one question to the supervisor, one answer shown."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bus.supervision import exit_codes
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.locate import run_path_for
from bus.supervision.lock import running_pid, wait_unlocked
from bus.supervision.tables import status_table


def run_status(arguments: argparse.Namespace) -> int:
    """Show what runs; 0 whenever it could ask."""
    try:
        status = ask(run_path_for(arguments), "status")
    except NoSupervisorError as error:
        if arguments.json:
            _print_json({"version": 1, "state": "stopped", "endpoints": {}, "processes": []})
        sys.stderr.write(f"mdbus: {error}\n")
        return error.exit_code
    if arguments.json:
        _print_json(status)
    else:
        sys.stdout.write(status_table(status, colour=sys.stdout.isatty()))
    return exit_codes.OK


def run_check(arguments: argparse.Namespace) -> int:
    """0 when healthy, 1 when not, with the reasons."""
    result = ask(run_path_for(arguments), "check", names=arguments.names)
    if arguments.json:
        _print_json(result)
    elif result["healthy"]:
        sys.stdout.write("healthy\n")
    else:
        for problem in result["problems"]:
            sys.stdout.write(f"{problem['name']}: {problem['reason']}\n")
    return exit_codes.OK if result["healthy"] else exit_codes.FAILED


def run_start(arguments: argparse.Namespace) -> int:
    """Start processes and wait until they serve."""
    return _act(arguments, "start")


def run_stop(arguments: argparse.Namespace) -> int:
    """Stop processes and wait until they are gone."""
    return _act(arguments, "stop")


def run_restart(arguments: argparse.Namespace) -> int:
    """Replace processes, or only their venue connections, and wait until the new ones serve."""
    if arguments.rotate:
        return _rotate(arguments)
    return _act(arguments, "restart")


def run_down(arguments: argparse.Namespace) -> int:
    """Stop everything and wait until the supervisor is gone."""
    path = run_path_for(arguments)
    pid = running_pid(path)
    try:
        ask(path, "down")
    except NoSupervisorError:
        raise
    except RefusedError:
        if running_pid(path) is not None:
            raise
    if not wait_unlocked(path, arguments.timeout):
        sys.stderr.write(
            f"mdbus: the supervisor (pid {pid}) still runs after {arguments.timeout:g} s\n"
        )
        return exit_codes.TIMEOUT
    if arguments.json:
        _print_json({"state": "stopped", "pid": pid})
    else:
        sys.stdout.write("stopped\n")
    return exit_codes.OK


def _act(arguments: argparse.Namespace, verb: str) -> int:
    result = ask(
        run_path_for(arguments),
        verb,
        wait_s=arguments.timeout,
        names=arguments.names,
        timeout_s=arguments.timeout,
    )
    if arguments.json:
        _print_json(result)
    else:
        for process in result["processes"]:
            sys.stdout.write(f"{process['name']}: {process['state']}\n")
    return exit_codes.OK


def _rotate(arguments: argparse.Namespace) -> int:
    """Have each named feed open new venue connections before it closes the old ones."""
    path = run_path_for(arguments)
    code = exit_codes.OK
    answers = []
    for name in dict.fromkeys(arguments.names):
        try:
            answer = ask(
                path,
                "command",
                wait_s=arguments.timeout,
                name=name,
                command="rotate",
                timeout_s=arguments.timeout,
            )
        except NoSupervisorError:
            raise
        except RefusedError as error:
            sys.stderr.write(f"mdbus: {error}\n")
            answers.append({"process": name, "error": str(error)})
            code = code or error.exit_code
            continue
        answers.append(answer)
        if not arguments.json:
            sys.stdout.write(f"{name}: rotated{_facts(answer['result'])}\n")
    if arguments.json:
        _print_json({"processes": answers})
    return code


def _facts(result: dict[str, Any]) -> str:
    """What the process said of it, as ``: key value, key value``."""
    facts = [
        f"{key} {value if isinstance(value, (str, int, float)) else json.dumps(value)}"
        for key, value in result.items()
    ]
    return f": {', '.join(facts)}" if facts else ""


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
