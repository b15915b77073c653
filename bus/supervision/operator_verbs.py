"""``down status start stop restart scale dump reexec check``: one question to the supervisor, its
answer shown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, Final

from bus.supervision import exit_codes
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.data_state import UNKNOWN, data_in_words
from bus.supervision.documents import print_document
from bus.supervision.locate import run_dir_for
from bus.supervision.lock import running_pid, wait_unlocked
from bus.supervision.progress import progress
from bus.supervision.tables import status_table, wants_colour

HEARD_S: Final = 5.0
"""How long `reexec` waits for processes to speak to the new supervisor."""


def run_status(arguments: argparse.Namespace) -> int:
    """Show what runs; 0 whenever it could ask."""
    try:
        status = ask(run_dir_for(arguments), "status")
    except NoSupervisorError as error:
        if arguments.json:
            print_document({"state": "stopped", "endpoints": {}, "processes": []})
        sys.stderr.write(f"mdbus: {error}\n")
        return error.exit_code
    if arguments.json:
        print_document(status)
    else:
        sys.stdout.write(status_table(status, colour=wants_colour(sys.stdout)))
    return exit_codes.OK


def run_check(arguments: argparse.Namespace) -> int:
    """0 when healthy, 1 when not, with the reasons: of processes, and of their data if asked."""
    result = ask(run_dir_for(arguments), "check", names=arguments.names, data=arguments.data)
    if arguments.json:
        print_document(result)
    elif result["healthy"]:
        odd = data_in_words(result.get("data", UNKNOWN))
        note = "" if arguments.data else ", which is not judged without --data"
        sys.stdout.write(f"healthy; data: {odd}{note}\n" if odd else "healthy\n")
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


def run_scale(arguments: argparse.Namespace) -> int:
    """Change how many bridges run and wait until they do."""
    path = run_dir_for(arguments)
    with progress(path, [arguments.name]):
        result = ask(
            path,
            "scale",
            wait_s=arguments.timeout * 4,
            name=arguments.name,
            count=arguments.count,
            timeout_s=arguments.timeout,
        )
    if arguments.json:
        print_document(result)
        return exit_codes.OK if result["ok"] else exit_codes.FAILED
    for step in result["steps"]:
        note = f": {step['note']}" if step["note"] else ""
        sys.stdout.write(f"{step['process']}: {step['action']}{note}\n")
    if result["applied"]:
        keep = f"set bridge.workers = {arguments.count} in the settings"
        sys.stdout.write(f"this holds until the next `mdbus reload` or `up`; to keep it, {keep}\n")
    else:
        sys.stdout.write("nothing has changed\n")
    return exit_codes.OK if result["ok"] else exit_codes.FAILED


def run_reexec(arguments: argparse.Namespace) -> int:
    """Have the supervisor run its installed code anew, and wait until that answers."""
    path = run_dir_for(arguments)
    end = time.monotonic() + arguments.timeout
    heard_by = end
    before = ask(path, "reexec", wait_s=arguments.timeout, timeout_s=arguments.timeout)
    while True:
        status = _status_if_it_answers(path)
        if status and status["program_started_at_ns"] != before["program_started_at_ns"]:
            heard_by = min(heard_by, time.monotonic() + HEARD_S)
            if _all_heard(status) or time.monotonic() >= heard_by:
                break
        if time.monotonic() > end:
            text = f"not replaced within {arguments.timeout:g} s"
            raise RefusedError(exit_codes.TIMEOUT, text)
        time.sleep(0.02)
    if arguments.json:
        print_document({"pid": status["pid"], "mdbus": status["mdbus"]})
    else:
        kept = sum(process["pid"] is not None for process in status["processes"])
        sys.stdout.write(
            f"supervisor {status['mdbus']} runs in place (pid {status['pid']}), "
            f"{kept} processes kept\n"
        )
    return exit_codes.OK


def _status_if_it_answers(path: str) -> dict[str, Any]:
    """The status, empty while nobody answers. Raises `NoSupervisorError` when it was stopped."""
    try:
        status: dict[str, Any] = ask(path, "status")
    except NoSupervisorError:
        raise
    except RefusedError:
        return {}
    return status


def _all_heard(status: dict[str, Any]) -> bool:
    """Whether every process that serves has found the new supervisor and can be asked things."""
    serving = (process for process in status["processes"] if process["state"] == "ready")
    return all(process["heartbeat_age_ms"] is not None for process in serving)


def run_dump(arguments: argparse.Namespace) -> int:
    """Show the stacks of a process's threads."""
    result = ask(
        run_dir_for(arguments),
        "dump",
        wait_s=arguments.timeout,
        name=arguments.name,
        timeout_s=arguments.timeout,
    )
    if arguments.json:
        print_document(result)
    else:
        sys.stdout.write(result["stacks"] + "\n")
    return exit_codes.OK


def run_down(arguments: argparse.Namespace) -> int:
    """Stop everything and wait until the supervisor is gone."""
    path = run_dir_for(arguments)
    pid = running_pid(path)
    try:
        ask(path, "down")
    except NoSupervisorError:
        raise
    except RefusedError:
        if running_pid(path) is not None:
            raise
    if not wait_unlocked(path, arguments.timeout):
        text = f"the supervisor (pid {pid}) still runs after {arguments.timeout:g} s"
        raise RefusedError(exit_codes.TIMEOUT, text)
    if arguments.json:
        print_document({"state": "stopped", "pid": pid})
    else:
        sys.stdout.write("stopped\n")
    return exit_codes.OK


def _act(arguments: argparse.Namespace, verb: str) -> int:
    path = run_dir_for(arguments)
    with progress(path, arguments.names):
        result = ask(
            path,
            verb,
            wait_s=arguments.timeout,
            names=arguments.names,
            timeout_s=arguments.timeout,
        )
    if arguments.json:
        print_document(result)
    else:
        for process in result["processes"]:
            sys.stdout.write(f"{process['name']}: {process['state']}\n")
    return exit_codes.OK


def _rotate(arguments: argparse.Namespace) -> int:
    """Have each named feed open new venue connections before it closes the old ones."""
    path = run_dir_for(arguments)
    code = exit_codes.OK
    answers = []
    for name in _without_kinds(path, arguments.names):
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
        print_document({"processes": answers})
    return code


def _without_kinds(path: str, names: list[str]) -> list[str]:
    """The names, each once, with ``feed`` and the like replaced by all processes of that kind."""
    rows = ask(path, "status")["processes"]
    exact = {row["name"] for row in rows}
    found: dict[str, None] = {}
    for name in names:
        of_kind = [row["name"] for row in rows if row["kind"] == name and name not in exact]
        found |= dict.fromkeys(of_kind or [name])
    return list(found)


def _facts(result: dict[str, Any]) -> str:
    """What the process said of it, as ``: key value, key value``."""
    facts = [
        f"{key} {value if isinstance(value, (str, int, float)) else json.dumps(value)}"
        for key, value in result.items()
    ]
    return f": {', '.join(facts)}" if facts else ""
